//! API keys: who has which.

use super::Denied;
use crate::http::{Caller, Role};
use crate::saga::Named;
use hex::FromHex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The shortest key, in characters: one that cannot be tried out.
const KEY_LENGTH: usize = 16;

/// The keys that are good here. Only their digests are kept.
pub struct ApiKeys(Vec<Holder>);

struct Holder {
    digest: [u8; 32],
    caller: Caller,
}

impl ApiKeys {
    /// Reads lines of `<name>:<key>:<role>[:<customerId>]`; in place of the key there may be `sha256:<hex of its
    /// SHA-256>`. Blank lines and those that begin with `#` are skipped. A wrong line is named, and never repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut holders: Vec<Holder> = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let holder = holder(line).map_err(|problem| format!("line {number}: {problem}"))?;
            if holders.iter().any(|other| other.caller.id == holder.caller.id) {
                return Err(format!("line {number}: the name {:?} is there twice", holder.caller.id));
            }
            if holders.iter().any(|other| other.digest == holder.digest) {
                return Err(format!("line {number}: {:?} has the key of another", holder.caller.id));
            }
            holders.push(holder);
        }
        if holders.is_empty() {
            return Err("holds no key".into());
        }
        Ok(ApiKeys(holders))
    }

    /// Whose key this is. Every digest is compared to its end, so that the time tells nothing.
    pub(super) fn caller(&self, key: &str) -> Result<Caller, Denied> {
        let digest = digest(key);
        let mut found = None;
        for holder in &self.0 {
            if bool::from(holder.digest.ct_eq(&digest)) {
                found = Some(&holder.caller);
            }
        }
        found.cloned().ok_or_else(|| Denied::Worthless("nobody has this key".into()))
    }
}

fn holder(line: &str) -> Result<Holder, String> {
    let (name, rest) = line.split_once(':').ok_or("must be name:key:role")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(is_name) {
        return Err("a name has 1 to 100 letters, digits, dots, hyphens and underscores".into());
    }
    let (digest, rest) = match rest.strip_prefix("sha256:") {
        Some(rest) => {
            let (hex, rest) = rest.split_once(':').ok_or("the role is missing")?;
            (<[u8; 32]>::from_hex(hex).map_err(|_| "sha256: must be followed by 64 hexadecimal digits")?, rest)
        }
        None => {
            let (key, rest) = rest.split_once(':').ok_or("the role is missing")?;
            if key.len() < KEY_LENGTH || !key.chars().all(|c| c.is_ascii_graphic() && c != ',') {
                return Err(format!(
                    "a key has at least {KEY_LENGTH} visible ASCII characters, without colons and commas"
                ));
            }
            (digest(key), rest)
        }
    };
    let (role, customer_id) = match rest.split_once(':') {
        Some((role, customer_id)) => (role, Some(customer_id)),
        None => (rest, None),
    };
    let role = Role::named(role).map_err(|_| "the role must be customer, service or operator")?;
    let customer_id = match (role, customer_id) {
        (Role::Customer, Some(id)) if !id.trim().is_empty() => Some(id.to_owned()),
        (Role::Customer, _) => return Err("a customer needs its customerId behind the role".into()),
        (Role::Service | Role::Operator, Some(_)) => return Err("only a customer has a customerId".into()),
        (Role::Service | Role::Operator, None) => None,
    };
    Ok(Holder { digest, caller: Caller { id: name.to_owned(), role, customer_id } })
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a-key-of-some-length";

    fn parse(text: &str) -> Result<ApiKeys, String> {
        ApiKeys::parse(text)
    }

    #[test]
    fn a_holder_is_known_by_its_key_alone() {
        let hashed: String = digest("another-key-than-that").iter().map(|byte| format!("{byte:02X}")).collect();
        let text = format!("# who may what\n\nshop:{KEY}:customer:cust:1\n  ops:sha256:{hashed}:operator\r\n");
        let keys = parse(&text).expect("good lines");
        let shop = Caller { id: "shop".into(), role: Role::Customer, customer_id: Some("cust:1".into()) };
        assert_eq!(keys.caller(KEY), Ok(shop));
        assert_eq!(keys.caller("another-key-than-that").map(|caller| caller.role), Ok(Role::Operator));
        for wrong in ["", "shop", &KEY[1..], &format!("{KEY} "), &hashed, &format!("sha256:{hashed}")] {
            assert!(keys.caller(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let rows = [
            "",
            "# nothing",
            "shop",
            &format!("shop:{KEY}"),
            &format!(":{KEY}:operator"),
            &format!("a shop:{KEY}:operator"),
            "shop:short:operator",
            "shop:a key of some length:operator",
            &format!("shop:{KEY}:admin"),
            &format!("shop:{KEY}:customer"),
            &format!("shop:{KEY}:customer: "),
            &format!("shop:{KEY}:service:cust-1"),
            "shop:sha256:abc:operator",
            &format!("shop:sha256:{}:operator", "g".repeat(64)),
            &format!("shop:sha256:{}:operator", "0".repeat(66)),
            &format!("shop:{KEY}:service\nshop:{KEY}2:service"),
            &format!("shop:{KEY}:service\nshop2:{KEY}:operator"),
        ];
        for text in rows {
            let problem = parse(text).err().unwrap_or_else(|| panic!("{text:?} was taken"));
            assert!(!problem.contains(KEY) && !problem.contains("short"), "{text:?}: {problem}");
            assert_eq!(problem.contains("line"), text.contains("shop") || text.contains(KEY), "{text:?}: {problem}");
        }
    }
}
