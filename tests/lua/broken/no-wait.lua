-- Nobody waits until a member is back; the guard is told that downtime doesn't matter.
return {
	api = 1,
	run = function(cluster)
		rolling(cluster.members, function(member)
			exec {
				member = member,
				argv = { "/usr/bin/snap", "refresh", "--no-wait", "--cohort=+", "microceph" },
				effect = "once",
				root = true,
			}
			time.sleep { span = "8s" }
		end)
	end,
}
