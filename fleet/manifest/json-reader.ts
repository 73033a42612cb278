/**
 * Reads a signed JSON document strictly: every field has one type and its bounds, a field that nobody knows is a
 * fault, and all faults are told at once, each with its path. Whoever reads gives up only at the end.
 */

/** Reads one JSON object field by field and writes every fault down with its path. */
export class JsonReader {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #faults: string[];
  readonly #read = new Set<string>();

  constructor(value: unknown, path: string, faults: string[]) {
    this.#path = path;
    this.#faults = faults;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject) faults.push(`${path}: expected an object, got ${shown(value)}`);
    this.#object = isObject ? (value as Record<string, unknown>) : {};
  }

  fault(name: string, expected: string): void {
    this.#faults.push(`${this.#path}.${name}: expected ${expected}, got ${shown(this.#object[name])}`);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  #take(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  number(name: string, min: number, max: number): number {
    const value = this.#take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max)
      return value;
    this.fault(name, `a whole number between ${min} and ${max}`);
    return min;
  }

  string(name: string, pattern: RegExp): string {
    const value = this.#take(name);
    if (typeof value === 'string' && pattern.test(value)) return value;
    this.fault(name, `text like ${pattern.source}`);
    return '';
  }

  nullable(name: string, accept: (text: string) => boolean): string | null {
    const value = this.#take(name);
    if (value === null || (typeof value === 'string' && accept(value))) return value;
    this.fault(name, 'well-formed text or null');
    return null;
  }

  choice<const Choice extends string>(name: string, choices: readonly [Choice, ...Choice[]]): Choice {
    const value = this.#take(name);
    const chosen = choices.find((choice) => choice === value);
    if (chosen === undefined) this.fault(name, choices.join(' or '));
    return chosen ?? choices[0];
  }

  /** Whether the field is there and null; it counts as read. */
  isNull(name: string): boolean {
    return this.#take(name) === null;
  }

  strings(name: string, min: number, max: number, accept: (text: string) => boolean): readonly string[] {
    const value = this.#take(name);
    const items: unknown[] = Array.isArray(value) ? value : [null];
    if (items.length >= min && items.length <= max) {
      const texts = items.filter((item): item is string => typeof item === 'string' && accept(item));
      if (texts.length === items.length) return texts;
    }
    this.fault(name, `a list of ${min} to ${max} well-formed entries`);
    return [];
  }

  list(name: string, min: number, max: number): readonly JsonReader[] {
    const value = this.#take(name);
    if (Array.isArray(value) && value.length >= min && value.length <= max) {
      return value.map(
        (item, index) => new JsonReader(item, `${this.#path}.${name}[${index}]`, this.#faults),
      );
    }
    this.fault(name, `a list of ${min} to ${max} entries`);
    return [];
  }

  child(name: string): JsonReader {
    return new JsonReader(this.#take(name), `${this.#path}.${name}`, this.#faults);
  }

  onlyTheseKeys(): void {
    for (const name of Object.keys(this.#object)) {
      if (!this.#read.has(name)) this.#faults.push(`${this.#path}.${name}: no such field`);
    }
  }
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80);
}
