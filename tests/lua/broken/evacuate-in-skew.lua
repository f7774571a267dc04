-- Instances are moved while the members run different versions.
return {
	api = 1,
	run = function(cluster)
		snap.refresh { member = cluster.members[1], snap = "lxd" }
		exec {
			member = cluster.members[2],
			argv = { "/snap/bin/lxc", "cluster", "evacuate", cluster.members[2], "--force" },
			effect = "once",
			timeout = "10m",
		}
	end,
}
