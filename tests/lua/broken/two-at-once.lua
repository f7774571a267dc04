-- Storage on two members at once.
return {
	api = 1,
	run = function(cluster)
		rolling(cluster.members, function(member)
			snap.refresh { member = member, snap = "microceph", downtime = true }
		end, { batch = 2 })
	end,
}
