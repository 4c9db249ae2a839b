// Serves one JavaScript client over lines of JSON: `node main.mjs kafkajs|platformatic HOST:PORT`.
//
// Request {id, op, args}, answer {id, ok} or {id, error: {name, text}}. Requests run side by side;
// byte strings travel as base64. Standard output carries answers only: what a client prints goes to
// standard error.

import { createInterface } from 'node:readline'

console.log = console.info = console.debug = console.error

const [client, bootstrap] = process.argv.slice(2)
const { open, failure } = await import(`./${client}.mjs`)
const driver = await open(bootstrap)

const answer = message => process.stdout.write(`${JSON.stringify(message)}\n`)

async function serve({ id, op, args }) {
  try {
    answer({ id, ok: (await driver[op](...args)) ?? null })
  } catch (error) {
    answer({ id, error: failure(error) })
  }
}

process.on('uncaughtException', error => console.error(error))
process.on('unhandledRejection', error => console.error(error))

createInterface({ input: process.stdin })
  .on('line', line => serve(JSON.parse(line)))
  .on('close', () => process.exit(0))
