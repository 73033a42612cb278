/**
 * A vantage that sees, votes and answers, and never withdraws anything. A drill that stays green with it has not
 * tested the failover.
 */
import { runVantage } from '../../healthcheck/vantage.ts';

await runVantage(process.env, ({ previous }) => ({
  basedOn: previous.generation,
  targets: previous.targets,
  failOpen: previous.failOpen,
  lastWithdrawal: previous.lastWithdrawal,
  warming: previous.warming,
  deferred: [],
}));
