/**
 * What was used lately, by key, and no more than a limit of it.
 *
 * It is kept in two generations: when the young one holds half of the limit it becomes the old one, and what was in the
 * old one and not used meanwhile is forgotten. A Map that is emptied at its front and filled at its back steps over
 * what was deleted every time its oldest key is asked for, which costs more than all the rest once there are thousands.
 */
export interface Recent<Key, Value> {
  /** The value, which counts as used now. */
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  readonly size: number;
}

/** Remembers the `max` / 2 keys used last for certain, and never more than `max` (at least 2) in all. */
export function createRecent<Key, Value>(max: number): Recent<Key, Value> {
  const youngMax = Math.floor(max / 2);
  let young = new Map<Key, Value>();
  let old = new Map<Key, Value>();
  const set = (key: Key, value: Value): void => {
    if (young.size >= youngMax && !young.has(key)) {
      old = young;
      young = new Map();
    }
    old.delete(key);
    young.set(key, value);
  };
  return {
    get size() {
      return young.size + old.size;
    },
    get: (key) => {
      const found = young.get(key);
      if (found !== undefined) return found;
      const aged = old.get(key);
      if (aged !== undefined) set(key, aged);
      return aged;
    },
    set,
  };
}
