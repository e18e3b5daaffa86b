//! Who asks.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a caller may do. A later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Place, read and cancel its own orders.
    Customer,
    /// Place, read and cancel anybody's orders, and read everything else.
    Service,
    /// Everything.
    Operator,
}

/// Who asks: every request carries one, as poem's `Data<&Caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A stable name: what idempotency keys, rates and audit entries belong to.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Whose orders are its own.
    pub customer_id: Option<String>,
}

impl Caller {
    /// Whoever it is, where nobody is asked for a name.
    pub fn anyone() -> Self {
        Caller { id: "anyone".into(), role: Role::Operator, customer_id: None }
    }

    /// Whether orders of this customer are its to place, read and cancel.
    pub fn may_act_for(&self, customer_id: &str) -> bool {
        match self.role {
            Role::Customer => self.customer_id.as_deref() == Some(customer_id),
            Role::Service | Role::Operator => true,
        }
    }
}
