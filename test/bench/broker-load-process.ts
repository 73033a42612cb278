/**
 * The load generator of a broker as a process of its own, like that of the relay (load-process.ts): takes its configuration
 * as the only argument, in JSON, and sends the result to its parent.
 */
import { type BrokerLoadConfig, runBrokerLoad } from './broker-load.ts';
import { JETSTREAM_CLIENTS } from './jetstream-clients.ts';
import { MOSQUITTO_CLIENTS } from './mqtt-clients.ts';

const CLIENTS = { jetstream: JETSTREAM_CLIENTS, mosquitto: MOSQUITTO_CLIENTS };
const config = JSON.parse(process.argv[2] ?? '') as BrokerLoadConfig;
process.once('disconnect', () => process.exit(1));
const result = await runBrokerLoad(config, CLIENTS[config.broker]);
process.send?.(result, () => process.exit(0));
