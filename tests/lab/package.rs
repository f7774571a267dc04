//! The Debian package, made of the program under test, installed into a root where nothing else is, and run there.
//!
//! dpkg installs it into an empty root whose status file has, of this machine's packages, those alone that the package
//! depends on. The root gets their shared libraries too, copied from this machine, and lockstep runs in a chroot. That shows
//! that the package is whole: a file, a library or a dependency that it lacks is missed. It doesn't show another release of
//! the distribution, nor what a release build changes: the program here is the one that all tests run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_tests::desk::lockstep;
use lockstep_tests::lab::{Ran, as_root, write};
use lockstep_tests::root;
use regex::Regex;
use yaml_rust2::YamlLoader;

/// The package, built into this folder.
fn built(folder: &Path) -> PathBuf {
    let mut build = Command::new(root().join("runner/packaging/debian/build"));
    build.arg(lockstep()).arg("--fast");
    let printed = done(build.env("CARGO_TARGET_DIR", folder));
    PathBuf::from(printed.lines().last().unwrap_or_default())
}

/// Runs a program that must succeed.
fn done(command: &mut Command) -> String {
    let output = command.output();
    let output =
        output.unwrap_or_else(|e| panic!("{command:?}: {e}; tests/run installs what tests need"));
    Ran::of(output).exits(0)
}

/// What a program that must succeed prints.
fn reported(program: &str, args: &[&str]) -> String {
    done(Command::new(program).args(args))
}

/// One field of the package.
fn field(deb: &str, name: &str) -> String {
    reported("dpkg-deb", &["--field", deb, name])
        .trim()
        .to_owned()
}

/// The names of the packages that a list of dependencies names.
fn names(depends: &str) -> Vec<&str> {
    let each = depends.split(',');
    each.filter_map(|one| one.trim().split([' ', ':']).next())
        .collect()
}

/// The shared libraries that a program is started with.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = reported("ldd", &[program.to_str().unwrap()]);
    let path = Regex::new(r"(/\S+) \(0x").unwrap();
    let found = path.captures_iter(&listed).map(|c| PathBuf::from(&c[1]));
    found.collect()
}

#[test]
fn the_package_is_installed_into_a_clean_root_and_works_there() {
    let folder = tempfile::tempdir().unwrap();
    let deb = built(folder.path());
    let deb = deb.to_str().unwrap();
    let clean = folder.path().join("root");

    // dpkg knows of the packages that this one depends on as this machine does, and of no other.
    let depends = field(deb, "Depends");
    let admin = clean.join("var/lib/dpkg");
    for empty in ["info", "updates"] {
        fs::create_dir_all(admin.join(empty)).unwrap();
    }
    let known = names(&depends)
        .into_iter()
        .map(|name| reported("dpkg-query", &["--status", name]) + "\n");
    write(&admin.join("status"), &known.collect::<String>());
    let mut install = as_root(Path::new("dpkg"));
    install.arg("--root").arg(&clean);
    // A machine that leaves manuals out of what it installs has them here.
    install.args(["--path-include=/usr/share/*", "--install", deb]);
    done(&mut install);
    let status = reported(
        "dpkg-query",
        &[
            "--admindir",
            admin.to_str().unwrap(),
            "-W",
            "-f",
            "${Status}",
            "lockstep",
        ],
    );
    assert_eq!(status, "install ok installed");

    let program = clean.join("usr/bin/lockstep");
    // What the package depends on, and what that depends on, brings every library.
    let mut brought: Vec<String> = names(&depends).into_iter().map(str::to_owned).collect();
    for name in brought.clone() {
        let further = reported("dpkg-query", &["-W", "-f", "${Depends}", &name]);
        brought.extend(names(&further).into_iter().map(str::to_owned));
    }
    for library in libraries(&program) {
        let file = library.file_name().unwrap().to_str().unwrap();
        let owner = reported("dpkg-query", &["--search", &format!("*/{file}")]);
        assert!(
            brought
                .iter()
                .any(|name| owner.starts_with(&format!("{name}:"))),
            "{owner}: {brought:?}"
        );
        let inside = clean.join(library.strip_prefix("/").unwrap());
        let mut copy = as_root(Path::new("install"));
        copy.arg("-D").arg(&library).arg(inside);
        done(&mut copy);
    }
    let run = |args: &[&str], code: i32| {
        let mut command = as_root(Path::new("/usr/sbin/chroot"));
        command.arg(&clean).arg("/usr/bin/lockstep").args(args);
        Ran::of(command.env_clear().output().unwrap()).exits(code)
    };
    let version = run(&["--version"], 0);
    assert!(
        version.starts_with("lockstep ") && version.contains(&field(deb, "Version")),
        "{version}"
    );
    let update = [
        "update",
        "--cluster",
        "twin:1",
        "--downtime",
        "--state",
        "/state",
    ];
    let printed = run(&update, 0);
    assert!(printed.contains("\nupdate-1: done\n"), "{printed}");
    // It finds what it wrote down there.
    assert!(run(&["runs", "--state", "/state"], 0).contains("update-1"));
    // The playbooks beside it are those in it.
    let beside = [
        "plan",
        "update",
        "--cluster",
        "twin:3",
        "--playbooks",
        "/usr/share/lockstep/playbooks",
    ];
    let stamp = Regex::new(r"\d{8}T\d{6}Z").unwrap();
    let plan = |words: &[&str]| stamp.replace_all(&run(words, 0), "").into_owned();
    assert_eq!(plan(&beside), plan(&beside[..4]));

    // Completions ask the program that is found, and not the one that they were made by.
    for file in [
        "bash-completion/completions/lockstep",
        "zsh/vendor-completions/_lockstep",
        "fish/vendor_completions.d/lockstep.fish",
    ] {
        let text = fs::read_to_string(clean.join("usr/share").join(file)).unwrap();
        assert!(
            text.contains("lockstep") && !text.contains("/package/"),
            "{text}"
        );
    }
    pages_can_be_read(&clean.join("usr/share/man/man1"));
    timer_is_off(&clean, folder.path());
    done(as_root(Path::new("rm")).arg("-rf").arg(&clean));
}

/// The timer that continues rollouts is there for whoever turns it on, and makes sense to systemd.
fn timer_is_off(clean: &Path, folder: &Path) {
    let units = clean.join("usr/lib/systemd/user");
    let found: BTreeSet<String> = fs::read_dir(&units)
        .unwrap()
        .map(|unit| unit.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = ["lockstep-fleet.service", "lockstep-fleet.timer"];
    assert_eq!(found, names.map(str::to_owned).into(), "nothing enables it");
    assert!(!clean.join("etc/systemd").exists());
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--user", "--man=no"])
        .env("XDG_RUNTIME_DIR", folder);
    for name in names {
        let text = fs::read_to_string(units.join(name)).unwrap();
        // It looks for the program where it isn't on this machine.
        write(
            &folder.join(name),
            &text.replace("/usr/bin/lockstep", &lockstep()),
        );
        verify.arg(folder.join(name));
    }
    let output = verify
        .output()
        .expect("systemd-analyze: tests/run installs it");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Every page of the manual is rendered without a complaint, and says whose it is.
fn pages_can_be_read(folder: &Path) {
    let mut pages = 0;
    for page in fs::read_dir(folder).unwrap().flatten() {
        let mut man = Command::new("man");
        man.args(["--warnings", "--encoding=utf8", "--local-file"])
            .arg(page.path());
        let shown = Ran::of(
            man.env("MANWIDTH", "80")
                .env("MANPAGER", "cat")
                .output()
                .unwrap(),
        );
        assert_eq!(shown.stderr, "", "{}", page.path().display());
        assert!(
            shown.stdout.contains("NAME") && shown.stdout.contains("lockstep"),
            "{}",
            shown.stdout
        );
        pages += 1;
    }
    assert!(pages > 15, "{pages} pages");
}

#[test]
fn what_is_in_the_package_is_where_a_distribution_looks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let deb = built(folder.path());
    let listed = reported("dpkg-deb", &["--contents", deb.to_str().unwrap()]);
    let mut files = BTreeSet::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner, path) = (words[0], words[1], words[5]);
        let path = path.strip_prefix("./").unwrap();
        assert!(["0/0", "root/root"].contains(&owner), "{line}");
        assert!(path.starts_with("usr/"), "{line}");
        let meant = match path {
            _ if path.ends_with('/') => "drwxr-xr-x",
            _ if line.contains(" -> ") => "lrwxrwxrwx",
            "usr/bin/lockstep" => "-rwxr-xr-x",
            // Programs that are modules.
            _ if path.contains("/site/modules/") => "-rwxr-xr-x",
            _ => "-rw-r--r--",
        };
        assert_eq!(mode, meant, "{line}");
        if !path.ends_with('/') {
            files.insert(path.to_owned());
        }
    }
    for shipped in files_of(&root().join("playbooks")) {
        let packed = format!("usr/share/lockstep/playbooks/{shipped}");
        assert!(files.remove(&packed), "{packed} is missing");
    }
    for page in files_of(&root().join("docs")) {
        let packed = format!("usr/share/doc/lockstep/docs/{page}");
        assert!(
            files.remove(&packed)
                || ["pictures/make", "book.toml", "SUMMARY.md"].contains(&page.as_str()),
            "{packed} is missing"
        );
    }
    assert!(
        files.contains("usr/share/man/man1/lockstep.1.gz"),
        "{files:?}"
    );
    files.retain(|path| !path.starts_with("usr/share/man/man1/"));
    insta::assert_snapshot!(files.into_iter().collect::<Vec<_>>().join("\n"));
}

/// What a folder has, by path below it, without hidden files and settings of checkers.
fn files_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                files_of(&entry.path())
                    .into_iter()
                    .map(|below| format!("{name}/{below}")),
            );
        } else if !name.starts_with('.') && name != "stylua.toml" {
            found.push(name);
        }
    }
    found
}

#[test]
fn the_description_of_the_snap_fits_the_project() {
    let text = fs::read_to_string(root().join("runner/packaging/snap/snapcraft.yaml")).unwrap();
    let snap = &YamlLoader::load_from_str(&text).unwrap()[0];
    let field = |name: &str| {
        snap[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is missing"))
    };
    assert_eq!(field("name"), "lockstep");
    assert_eq!(field("confinement"), "classic");
    assert_eq!(field("license"), "Apache-2.0");
    assert!(["stable", "devel"].contains(&field("grade")));
    assert!(field("base").starts_with("core"));
    // The store takes no longer one.
    assert!(field("summary").len() <= 78 && !field("description").is_empty());
    let part = &snap["parts"][field("adopt-info")];
    let source = root().join(part["source"].as_str().unwrap());
    let cargo = fs::read_to_string(source.join("Cargo.toml")).unwrap();
    let rust = part["rust-channel"].as_str().unwrap();
    assert!(
        cargo.contains(&format!("rust-version = \"{rust}\"")),
        "{rust}"
    );
    for path in part["rust-path"].as_vec().unwrap() {
        assert!(
            source
                .join(path.as_str().unwrap())
                .join("Cargo.toml")
                .exists(),
            "{path:?}"
        );
    }
    // What the application is made of is what the part leaves.
    let (app, build) = (
        &snap["apps"]["lockstep"],
        part["override-build"].as_str().unwrap(),
    );
    for left in ["command", "completer"] {
        assert!(build.contains(app[left].as_str().unwrap()), "{left}");
    }
    let version = Regex::new("(?m)^version = \"(.*)\"").unwrap();
    assert_eq!(
        &version.captures(&cargo).unwrap()[1],
        env!("CARGO_PKG_VERSION")
    );
}
