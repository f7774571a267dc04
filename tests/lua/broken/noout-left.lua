-- The flag is set and never cleared.
return {
	api = 1,
	run = function(cluster)
		local before = microceph.baseline {}
		rolling(cluster.members, function(member)
			microceph.noout { member = member, on = true }
			snap.refresh { member = member, snap = "microceph" }
			microceph.wait { member = member, since = before }
		end)
	end,
}
