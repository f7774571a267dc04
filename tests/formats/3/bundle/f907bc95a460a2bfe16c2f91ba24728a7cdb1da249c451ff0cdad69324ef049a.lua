-- Begun by a lockstep whose journal was of format 3.
return {
	api = 1,
	about = "Set noout, wait for somebody, clear it.",
	run = function(cluster)
		lock.take {}
		finally(function()
			microceph.noout { member = "micro01", on = true }
			confirm "Is micro01 repaired?"
		end, function()
			microceph.noout { member = "micro01", on = false }
			lock.release {}
		end)
	end,
}
