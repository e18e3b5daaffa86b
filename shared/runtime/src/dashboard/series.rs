//! Metrics in Prometheus' text format, as our own exporter writes it, as values for the dashboard.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use serde::Serialize;
use std::collections::BTreeMap;

/// The series of one service, by name.
pub(super) type Metrics<'a> = BTreeMap<&'a str, Vec<Series<'a>>>;

/// One series.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Series<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<f64>,
    /// Upper bounds and cumulative counts; the last bound, which is infinite, is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buckets: Vec<(f64, u64)>,
}

/// The series with this value of the label `service`, without that label. Values of our labels are plain names, so
/// nothing is escaped in them; a line that is not understood is left out.
pub(super) fn of_service<'a>(text: &'a str, service: &str) -> Metrics<'a> {
    let mut metrics = Metrics::new();
    let mut histograms = Vec::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            histograms.extend(described.strip_suffix(" histogram"));
            continue;
        }
        let Some((name, mut labels, value)) = sample(line) else { continue };
        if labels.remove("service") != Some(service) {
            continue;
        }
        let part_of = |suffix: &str| name.strip_suffix(suffix).filter(|name| histograms.contains(name));
        if let Some(name) = part_of("_bucket") {
            let bound =
                labels.remove("le").and_then(|bound| bound.parse().ok()).filter(|bound: &f64| bound.is_finite());
            let series = one(&mut metrics, name, labels);
            series.buckets.extend(bound.zip(value.parse().ok()));
        } else if let Some(name) = part_of("_sum") {
            one(&mut metrics, name, labels).sum = value.parse().ok();
        } else if let Some(name) = part_of("_count") {
            one(&mut metrics, name, labels).count = value.parse().ok();
        } else {
            one(&mut metrics, name, labels).value = value.parse().ok();
        }
    }
    // What has not happened says nothing.
    metrics.values_mut().for_each(|all| all.retain(|series| series.count != Some(0)));
    metrics.retain(|_, all| !all.is_empty());
    metrics
}

fn one<'m, 'a>(metrics: &'m mut Metrics<'a>, name: &'a str, labels: BTreeMap<&'a str, &'a str>) -> &'m mut Series<'a> {
    let all = metrics.entry(name).or_default();
    // The lines of one series are together.
    if all.last().is_none_or(|last| last.labels != labels) {
        all.push(Series { labels, ..Series::default() });
    }
    all.last_mut().expect("one was just added")
}

fn sample(line: &str) -> Option<(&str, BTreeMap<&str, &str>, &str)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut rest = labels.strip_suffix('}')?;
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let (text, after) = after.split_once('"')?;
        found.insert(label, text);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some((name, found, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_those_of_the_service() {
        let text = r#"
# HELP a what
# TYPE a counter
a{service="x",route="/api/orders/{orderId}"} 3
a{service="y",route="r"} 4
# TYPE b histogram
b_bucket{service="x",le="0.5"} 1
b_bucket{service="x",le="+Inf"} 2
b_sum{service="x"} 1.25
b_count{service="x"} 2
# TYPE c gauge
c 5
c{service="x" 5
"#;
        let a = Series { labels: [("route", "/api/orders/{orderId}")].into(), value: Some(3.0), ..Series::default() };
        let b = Series { count: Some(2), sum: Some(1.25), buckets: vec![(0.5, 1)], ..Series::default() };
        assert_eq!(of_service(text, "x"), [("a", vec![a]), ("b", vec![b])].into());
    }
}
