//! lockstep among real programs: sshd, namespaces, dpkg, a browser. Much of it needs root.

mod browser;
mod displays;
mod links;
mod package;
mod pages;
mod quirks;
mod sittings;
mod ssh;
