-- Gives a secret to a program that tells it in every way it knows, and says what came back.
return {
	api = 1,
	about = "Give a secret away",
	params = {
		token = { type = "secret", about = "Token of the load balancer", default = "env:LB_TOKEN" },
		into = { type = "string", default = "/dev/null", about = "Where the program keeps what it was given" },
	},
	run = function(_, p)
		local function leak(ending, effect)
			return exec {
				member = "micro01",
				argv = { "/usr/local/bin/leak", p.into, ending, p.token },
				stdin = p.token,
				effect = effect,
				root = true,
				plan = { code = 0, stdout = "raw: nothing\n" },
			}
		end
		print("the token is " .. p.token)
		local said = leak("0", "converge")
		log.info(said.stdout)
		-- What comes back as it is, is the secret again, and can be passed on.
		local same = said.stdout:match("raw: ([^\n]+)") == p.token
		local tried = try(leak, "3", "once")
		if not tried.ok then
			log.warn(tried.error.message, tried.error.detail.stdout)
		end
		leak("4", "once")
		return { same = same, token = p.token }
	end,
}
