use super::*;
use proptest::prelude::*;

fn line(product: u8, quantity: i64) -> Line {
    Line { product_id: format!("P{product}"), quantity }
}

fn shelf(product: u8, on_hand: i64, reserved: i64) -> (String, Model) {
    let product_id = format!("P{product}");
    (product_id.clone(), Model { product_id, on_hand, reserved })
}

proptest! {
    #[test]
    fn all_or_nothing_and_never_more_than_there_is(
        on_hand in prop::collection::vec(0..50_i64, 3),
        orders in prop::collection::vec(prop::collection::vec((0..4_u8, 1..20_i64), 1..5), 1..20),
    ) {
        // P3 is not on any shelf.
        let mut shelves: Shelves =
            on_hand.iter().zip(0_u8..).map(|(units, product)| shelf(product, *units, 0)).collect();
        let mut held = Vec::new();
        for order in orders {
            let lines: Vec<Line> = order.into_iter().map(|(product, quantity)| line(product, quantity)).collect();
            let before = shelves.clone();
            match allocate(&mut shelves, &lines) {
                Ok(()) => held.push(lines),
                Err(missing) => {
                    prop_assert_eq!(&shelves, &before, "something was taken though {:?} is missing", missing);
                    prop_assert!(missing.iter().all(|m| m.requested_quantity > m.available_quantity), "{:?}", missing);
                }
            }
            prop_assert!(shelves.values().all(|shelf| shelf.available() >= 0), "oversold: {:?}", shelves);
        }
        let sum: i64 = held.iter().flatten().map(|line| line.quantity).sum();
        prop_assert_eq!(shelves.values().map(|shelf| shelf.reserved).sum::<i64>(), sum);
        held.iter().for_each(|lines| release(&mut shelves, lines));
        prop_assert!(shelves.values().all(|shelf| shelf.reserved == 0), "not all came back: {:?}", shelves);
    }
}

#[test]
fn lines_of_one_product_count_together() {
    let mut shelves = Shelves::from([shelf(1, 10, 0)]);
    let missing = allocate(&mut shelves, &[line(1, 6), line(1, 5)]).unwrap_err();
    let counted = MissingLine { product_id: "P1".into(), requested_quantity: 11, available_quantity: 10 };
    assert_eq!(missing, [counted]);
    assert_eq!(allocate(&mut shelves, &[line(1, 6), line(1, 4)]), Ok(()));
    assert_eq!(shelves["P1"].available(), 0);
}

#[test]
fn what_orders_hold_stays_on_hand() {
    let held = || Some(shelf(1, 10, 4).1);
    let rows = [
        (held(), Change::Set(4), Ok(4)),
        (held(), Change::Set(3), Err(())),
        (held(), Change::Adjust(-6), Ok(4)),
        (held(), Change::Adjust(-7), Err(())),
        (held(), Change::Adjust(i64::MAX), Err(())),
        (None, Change::Set(5), Ok(5)),
        (None, Change::Adjust(5), Err(())),
    ];
    for (row, change, expected) in rows {
        let case = format!("{row:?} {change:?}");
        let on_hand = changed(row, "P1".into(), change).map(|row| row.on_hand).map_err(drop);
        assert_eq!(on_hand, expected, "{case}");
    }
}
