/**
 * Faults of the configuration, in the one form that they all have: path, what was expected, the command that mends it.
 */

/** Collects the faults of one reading. */
export class Faults {
  readonly found: string[] = [];

  /** `path` is below `archipelago:`; `example` is what the command that mends it sets. */
  add(path: string, problem: string, example: string, flags = ''): void {
    this.found.push(
      `archipelago:${path}: ${problem}; run pulumi config set ${flags}--path 'archipelago:${path}' ${example}`,
    );
  }

  /** A field that nobody reads is a slip of the hand. */
  unknownFields(path: string, given: ReadonlyMap<string, unknown>, known: readonly string[]): void {
    for (const field of given.keys()) {
      if (!known.includes(field)) {
        const at = `archipelago:${path}.${field}`;
        this.found.push(`${at}: no such field; run pulumi config rm --path '${at}'`);
      }
    }
  }
}

/** The fields of an object; of anything else, none. */
export function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [],
  );
}

/** The texts of a list; of anything else, none. */
export function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : [];
}
