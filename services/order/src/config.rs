//! The settings of order-service.

use crate::saga::OrderSaga;
use clap::{Args, Parser};
use runtime::config::{Alone, Common};

/// Takes orders over HTTP and sees them through payment and stock to their end.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-service", version)]
pub struct Settings {
    /// How orders are taken on
    #[command(flatten)]
    pub orders: Orders,
    /// What every service takes that runs alone
    #[command(flatten)]
    pub alone: Alone<8080>,
}

/// How orders are taken on.
#[derive(Args, Clone, Copy, Debug)]
pub struct Orders {
    /// Orders that may be under way at the other services before new ones are refused with 503
    #[arg(long, env, default_value = "4000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub orders_under_way_limit: u64,
}

/// The rules as they are set.
pub fn saga(common: &Common) -> OrderSaga {
    OrderSaga { payment_deadline: common.payment_deadline(), inventory_deadline: common.inventory_deadline() }
}
