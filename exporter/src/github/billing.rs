//! What an organization was billed, by day.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Github;
use super::error::GithubError;
use super::time;
use super::transport::Ask;

const DAY: f64 = 86_400.0;

/// One day's use of GitHub Actions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bill {
    /// Start of the day in UTC, in seconds since the Unix epoch.
    pub day: f64,
    /// One a SKU, by its name.
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    pub sku: String,
    /// What `quantity` counts, such as `Minutes`.
    pub unit: String,
    pub quantity: f64,
    /// In US dollars, after discounts.
    pub net_amount: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default)]
    usage_items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    product: String,
    #[serde(default)]
    sku: String,
    #[serde(default)]
    unit_type: String,
    #[serde(default)]
    quantity: f64,
    #[serde(default)]
    net_amount: f64,
}

impl Github {
    /// The last whole UTC day before `now`. Not on Enterprise Server.
    ///
    /// Asked for by day: for a month GitHub tells only of its first one.
    pub async fn billed(&self, organization: &str, now: f64) -> Result<Bill, GithubError> {
        let day = (now / DAY).floor() - 1.0;
        let (year, month, date) = time::date(day as i64);
        let path = format!(
            "/organizations/{organization}/settings/billing/usage\
             ?year={year}&month={month}&day={date}"
        );
        let ask = Ask::get("{organization}/settings/billing/usage", path);
        let (usage, _): (Usage, _) = self.client.read(&ask, self.urgency).await?;
        Ok(Bill { day: day * DAY, lines: lines(usage) })
    }
}

/// GitHub tells by repository; here the SKU is enough.
fn lines(usage: Usage) -> Vec<Line> {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    let actions = |item: &Item| item.product.eq_ignore_ascii_case("actions");
    for Item { sku, unit_type: unit, quantity, net_amount, .. } in
        usage.usage_items.into_iter().filter(actions)
    {
        let new = Line { sku: sku.clone(), unit: unit.clone(), ..Line::default() };
        let line = lines.entry((sku, unit)).or_insert(new);
        line.quantity += quantity;
        line.net_amount += net_amount;
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_a_sku_add_up() {
        let text = r#"{"usageItems": [
            {"date": "2026-11-20T00:00:00Z", "product": "Actions", "sku": "Actions Linux",
             "quantity": 100, "unitType": "Minutes", "pricePerUnit": 0.008, "grossAmount": 0.8,
             "discountAmount": 0, "netAmount": 0.8, "organizationName": "o", "repositoryName": "a"},
            {"product": "actions", "sku": "Actions Linux", "quantity": 50.5,
             "unitType": "Minutes", "netAmount": 0.4, "repositoryName": "b"},
            {"product": "Copilot", "sku": "Seats", "quantity": 1, "unitType": "Seats"}]}"#;
        let lines = lines(serde_json::from_str(text).unwrap());
        let want = Line {
            sku: "Actions Linux".to_owned(),
            unit: "Minutes".to_owned(),
            quantity: 150.5,
            net_amount: 1.2000000000000002,
        };
        assert_eq!(lines, [want]);
    }
}
