// How the code tells the tests what reached it: a state of the bot for each thing.

import { randomUUID } from 'node:crypto'

let last = 0

/** Notes that `what` happened. Notes of one process are in the order of `at`. */
export async function note({ client, ctx }: any, what: string, got: object = {}) {
  last = Math.max(Date.now(), last + 0.001)
  const payload = { what, at: last, ...got }
  await client.setState({ type: 'bot', id: ctx.botId, name: `note ${randomUUID()}`, payload })
}
