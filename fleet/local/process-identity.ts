/**
 * Which process a pid means: pids are reused, a pid with its start time is not.
 */
import { readFileSync } from 'node:fs';

/**
 * Start time of a live process in clock ticks since boot (field 22 of /proc/PID/stat, proc_pid_stat(5)), `none` when
 * there is no such process or it is only waiting to be reaped, and '' where there is no /proc.
 */
export function startOf(pid: number): string {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return process.platform === 'linux' ? 'none' : '';
  }
  // The second field is the command in parentheses and may contain anything, so count from the last one.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? 'none' : (fields[18] ?? 'none');
}
