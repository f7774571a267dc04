-- Generated from the registry: what playbooks see, and what of Lua they don't.
std = "lua54"
read_globals = {
	"backup",
	"cluster",
	"confirm",
	"each",
	"exec",
	"finally",
	"lock",
	"log",
	"lxd",
	"microceph",
	"microcloud",
	"microovn",
	"parallel",
	"preflight",
	"rolling",
	"section",
	"snap",
	"status",
	"time",
	"try",
	"window",
}
not_globals = {
	"collectgarbage",
	"coroutine",
	"debug",
	"dofile",
	"io",
	"load",
	"loadfile",
	"os",
	"package",
	"rawset",
	"warn",
}
exclude_files = { "types/**" }
max_line_length = 130
