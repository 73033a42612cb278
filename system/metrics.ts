/**
 * Metrics with closed label sets: each counter exists at zero from the start, for every value its label may take,
 * so a rate can be computed from the first event and a misspelt reason does not type-check.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

interface CounterOf<Reason extends string> {
  add(reason: Reason, amount?: number): void;
}

export interface Metrics {
  /** A counter with one label whose values are all known; all of them start at zero. */
  counter<Reason extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly Reason[],
  ): CounterOf<Reason>;
  /** A gauge that is read when it is scraped; `read` gives the value for each label value. */
  gauge(name: string, help: string, label: string, read: () => ReadonlyMap<string, number>): void;
  /** A gauge with two labels, read when it is scraped; `read` gives every pair of label values with its value. */
  grid(
    name: string,
    help: string,
    labels: readonly [string, string],
    read: () => readonly (readonly [string, string, number])[],
  ): void;
  /** A gauge without labels. */
  value(name: string, help: string, read: () => number): void;
  /** A histogram; buckets are upper bounds in the unit that the name ends with. */
  histogram(name: string, help: string, buckets: readonly number[]): { observe(value: number): void };
  /** Everything, in the Prometheus text format 0.0.4. */
  text(): Promise<string>;
}

/** `prefix` begins every name, with its underscore: `relay_`. */
export function createMetrics(prefix: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix });
  return {
    counter: (name, help, label, values) => {
      // Counted in a map and handed over when somebody scrapes: a label costs more than a DNS query.
      const counts = new Map(values.map((value) => [value, 0]));
      const counter: Counter = new Counter({
        name: prefix + name,
        help,
        labelNames: [label],
        registers: [registry],
        collect: () => {
          counter.reset();
          for (const [value, count] of counts) counter.inc({ [label]: value }, count);
        },
      });
      return {
        add: (reason, amount = 1) => void counts.set(reason, (counts.get(reason) ?? 0) + amount),
      };
    },
    gauge: (name, help, label, read) => {
      const gauge: Gauge = new Gauge({
        name: prefix + name,
        help,
        labelNames: [label],
        registers: [registry],
        collect: () => {
          gauge.reset();
          for (const [key, value] of read()) gauge.set({ [label]: key }, value);
        },
      });
    },
    grid: (name, help, labels, read) => {
      const gauge: Gauge = new Gauge({
        name: prefix + name,
        help,
        labelNames: [...labels],
        registers: [registry],
        collect: () => {
          gauge.reset();
          for (const [first, second, value] of read()) {
            gauge.set({ [labels[0]]: first, [labels[1]]: second }, value);
          }
        },
      });
    },
    value: (name, help, read) => {
      const gauge: Gauge = new Gauge({
        name: prefix + name,
        help,
        registers: [registry],
        collect: () => gauge.set(read()),
      });
    },
    histogram: (name, help, buckets) => {
      const histogram = new Histogram({
        name: prefix + name,
        help,
        buckets: [...buckets],
        registers: [registry],
      });
      return { observe: (value) => histogram.observe(value) };
    },
    text: () => registry.metrics(),
  };
}
