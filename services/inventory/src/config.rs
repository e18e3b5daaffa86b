//! The settings of inventory-service.

use crate::saga::InventorySaga;
use crate::stock::MAX_ON_HAND;
use clap::{Args, Parser};
use runtime::config::{Alone, BadSetting, Common};
use std::collections::BTreeMap;

/// Keeps the stock, and holds what orders need.
#[derive(Clone, Debug, Parser)]
#[command(name = "inventory-service", version)]
pub struct Settings {
    /// The stock
    #[command(flatten)]
    pub inventory: Inventory,
    /// What every service takes that runs alone
    #[command(flatten)]
    pub alone: Alone<8082>,
}

/// The stock's settings.
#[derive(Args, Clone, Debug)]
pub struct Inventory {
    /// Stock that is written once into an empty table, as in P1=1000000,P2=500
    #[arg(long, env)]
    pub inventory_initial_stock: Option<String>,
}

impl Inventory {
    /// The products and how many of each, or `default` where nothing is set.
    pub fn initial_stock(&self, default: &[(String, i64)]) -> Result<Vec<(String, i64)>, BadSetting> {
        let Some(text) = &self.inventory_initial_stock else { return Ok(default.to_vec()) };
        let entry = |entry: &str| {
            let (product, on_hand) = entry.split_once('=')?;
            let on_hand: i64 = on_hand.trim().parse().ok().filter(|n| (0..=MAX_ON_HAND).contains(n))?;
            let product = product.trim();
            (!product.is_empty()).then(|| (product.to_owned(), on_hand))
        };
        let mut stock = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = |why: &str| BadSetting::new("INVENTORY_INITIAL_STOCK", format!("{part:?} {why}"));
            let (product, on_hand) = entry(part).ok_or_else(|| bad("is not product=units, as in P1=1000000"))?;
            if stock.insert(product, on_hand).is_some() {
                return Err(bad("names a product for the second time"));
            }
        }
        Ok(stock.into_iter().collect())
    }
}

/// The rules as they are set.
pub fn saga(common: &Common) -> InventorySaga {
    InventorySaga { deadline: common.inventory_deadline() }
}
