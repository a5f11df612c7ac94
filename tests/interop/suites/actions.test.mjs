// Actions and integration configuration: runtime.md §§ 10, 11. The code of the integration is a small
// HTTP server here.

import http from 'node:http'
import { assert, every, raw, server } from '../lib/harness.mjs'

/** An integration's code: answers what `answer` makes of an operation and its body. */
async function code(answer) {
  const heard = []
  const listening = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks))
    const operation = request.headers['x-bp-operation']
    heard.push(operation)
    const { status = 200, ...rest } = answer(operation, body) ?? {}
    response.writeHead(status).end(JSON.stringify(rest))
  })
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve))
  listening.unref()
  return { url: `http://127.0.0.1:${listening.address().port}`, heard, close: () => listening.close() }
}

const schema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
const actions = { greet: { input: { schema }, output: { schema: { type: 'object' } } } }

every('an action of an unknown instance, or an unknown one of its own, is not found', 'callAction', async (w) => {
  const { client } = await w.asBot()
  await w.refused('ResourceNotFound', client.callAction({ type: 'slack:addReaction', input: {} }))
  await w.refused('InvalidPayload', client.callAction({ input: {} }))
  await w.refused('InvalidPayload', client.callAction({ type: 't'.repeat(201), input: {} }))
  await w.refused('InvalidPayload', client.callAction({ type: 'slack:addReaction' }))
})

every('an action of an installed integration is done by its code', 'callAction', async (w) => {
  const { url, close } = await code((operation, { type, input }) => {
    if (operation !== 'action_triggered') return {}
    if (input.name === 'nobody') return { status: 400, id: 'x', code: 400, type: 'Runtime', message: 'nobody is here' }
    return { output: { text: `${type}: ${input.name}` } }
  })
  const bot = await w.newBot()
  const integration = await w.newIntegration({ actions, url })
  const { alias } = await w.install(bot, integration)
  const { client } = await w.asBot(bot)
  const { output } = await client.callAction({ type: `${alias}:greet`, input: { name: 'Ada' } })
  assert.deepEqual(output, { text: 'greet: Ada' })
  await w.refused('InvalidDataFormat', client.callAction({ type: `${alias}:greet`, input: {} }))
  await w.refused('Runtime', client.callAction({ type: `${alias}:greet`, input: { name: 'nobody' } }), /nobody is here/)
  await w.install(bot, integration, alias, { enabled: false })
  await w.refused('Runtime', client.callAction({ type: `${alias}:greet`, input: { name: 'Ada' } }), /disabled/)
  const headers = { 'x-workspace-id': server.workspaceId }
  const runs = await raw('GET', `/v1/admin/bots/${bot.id}/action-runs?integrationName=${alias}`, { headers })
  assert.deepEqual(runs.body.data.map(({ status }) => status), ['FAILURE', 'SUCCESS'])
  close()
})

every('only an integration configures itself', 'configureIntegration', async (w) => {
  const bot = await w.newBot()
  const { client } = await w.asBot(bot)
  await w.refused('Forbidden', client.configureIntegration({ identifier: 'team-1' }))
  const integration = await w.newIntegration()
  await w.install(bot, integration)
  await w.asIntegration(bot, integration).configureIntegration({ identifier: 'team-1', scheduleRegisterCall: 'daily' })
})
