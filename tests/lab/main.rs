//! lockstep among real programs: sshd, namespaces, dpkg, a browser. Much of it needs root.

mod alertmanager;
mod browser;
mod copies;
mod disk;
mod displays;
mod grants;
mod guide;
mod holds;
mod links;
mod modules;
mod package;
mod pages;
mod plan;
mod quirks;
mod resumed;
mod secrets;
mod sittings;
mod slurm;
mod ssh;
mod stage;
mod store;
