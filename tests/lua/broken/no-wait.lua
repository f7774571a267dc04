-- Nobody waits until a member is back, and snapd is asked past lockstep's own guard.
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
			time.sleep { span = "4s" }
		end)
	end,
}
