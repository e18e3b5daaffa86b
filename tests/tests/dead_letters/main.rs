//! Dead letters from the log to the operator and back (faults 21 and 24), on embedded parts.

mod many;
mod one;
mod twice;
mod two;
