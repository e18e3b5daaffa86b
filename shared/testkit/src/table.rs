use contracts::Timestamp;
use runtime::saga::{Decision, Saga};
use std::fmt::Write;

/// A state, under the name that heads its column.
pub type Column<'a, S> = (&'a str, <S as Saga>::State);
/// An input, under the name that begins its row.
pub type Row<'a, S> = (&'a str, <S as Saga>::Input);

/// Every cell of these states and inputs as a Markdown table: what the saga answers.
pub fn table<S: Saga>(
    saga: &S,
    states: &[Column<'_, S>],
    inputs: &[Row<'_, S>],
    name: impl Fn(&S::Event) -> String,
) -> String {
    let mut text = String::from("| input |");
    for (state, _) in states {
        write!(text, " {state} |").expect("writing to a string");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(states.len()));
    for (input_name, input) in inputs {
        write!(text, "\n| {input_name} |").expect("writing to a string");
        for (_, state) in states {
            write!(text, " {} |", answer(&saga.decide(state, input, Timestamp::default()), &name))
                .expect("writing to a string");
        }
    }
    text.push('\n');
    text
}

fn answer<E>(decision: &Decision<E>, name: impl Fn(&E) -> String) -> String {
    match decision {
        Decision::Events(events) => {
            // What has no name says that the input was noted, which goes without saying beside others.
            let named = events.iter().map(name).filter(|name| !name.is_empty());
            let names: Vec<String> = named.map(|name| format!("**{name}**")).collect();
            if names.is_empty() { "noted".into() } else { names.join(", ") }
        }
        Decision::Nothing(why) => <&str>::from(why).to_owned(),
        Decision::Rejected(why) => format!("_rejected: {why}_"),
    }
}
