//! The whole system in one thread and in virtual time, repeatable from a seed.
//!
//! The sagas and the actors are the real ones. Simulated are the ports: the event log with its groups ([`log`]), the
//! databases ([`store`]), the clock, the payment provider and the notices' channel. A process is one replica of one
//! service; to kill it is to leave all that it asks of its ports unanswered from then on.

mod audit;
mod books;
mod callers;
mod chaos;
mod client;
mod fleet;
mod foreign;
mod kept;
mod ledger;
mod log;
mod mutation;
mod mutations;
mod outside;
mod plan;
mod point;
mod process;
mod producer;
mod run;
mod runs;
mod store;
mod story;
mod tally;
mod watch;
mod world;
