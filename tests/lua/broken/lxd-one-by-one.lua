-- LXD is refreshed on one member after the other, and each is waited for.
return {
	api = 1,
	run = function(cluster)
		rolling(cluster.members, function(member)
			snap.refresh { member = member, snap = "lxd" }
			lxd.wait {}
		end)
	end,
}
