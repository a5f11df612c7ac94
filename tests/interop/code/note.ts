// How the code tells the tests what reached it: a state for each thing, of the bot or the integration.

import { randomUUID } from 'node:crypto'

let last = 0

/** Notes that `what` happened. Notes of one process are in the order of `at`. */
export async function note({ client, ctx }: any, what: string, got: object = {}) {
  last = Math.max(Date.now(), last + 0.001)
  const payload = { what, at: last, ...got }
  const [type, id] = ctx.integrationId ? ['integration', ctx.integrationId] : ['bot', ctx.botId]
  await client.setState({ type, id, name: `note ${randomUUID()}`, payload })
}
