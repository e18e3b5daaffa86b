//! What tests of every service use: a saga driven by hand with a story to tell, tables of every cell, golden files.

mod golden;
mod story;
mod table;

pub use golden::golden;
pub use story::Story;
pub use table::{Column, Row, table};
