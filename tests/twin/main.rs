//! The whole of lockstep on the simulated cluster, within one process: nothing else is needed.

mod check;
mod crash;
mod disk;
mod engine;
mod escapes;
mod evacuate;
mod evidence;
mod gates;
mod guide;
mod hazards;
mod holds;
mod lasting;
mod laws;
mod mixes;
mod mutated;
mod network;
mod preflight;
mod race;
mod refresh;
mod safety;
mod secrets;
mod session;
mod sittings;
mod stage;
mod storage;
mod update;
