// What was delivered, what was given up and what is delivered again: our own operations.

import { assert, eventually, nobody, ok, once, refusedRaw, server } from '../lib/harness.mjs'
import { WAYS, noted, notes, updateBot } from '../lib/sdk.mjs'

const workspace = { headers: { 'x-workspace-id': server.workspaceId } }

once('deliveries are listed, shown and replayed', async (w) => {
  const { bot, client } = await w.asBot()
  await updateBot(bot, await WAYS.remote('handlers'))
  const integration = await w.newIntegration()
  await w.install(bot, integration, 'desk')
  const desk = w.asIntegration(bot, integration, 'desk')
  const { conversation } = await desk.createConversation({ channel: 'channel', tags: {} })
  const { user } = await desk.createUser({ tags: {} })
  const path = `/v1/admin/bots/${bot.id}/deliveries`
  const list = async (status) => (await ok('GET', `${path}?status=${status}`, workspace)).deliveries
  const say = (text) =>
    desk.createMessage({ conversationId: conversation.id, userId: user.id, type: 'text', payload: { text }, tags: {} })

  const since = new Date(Date.now() - 1000).toISOString()
  await say('fail')
  const [dead] = await eventually(async () => {
    const found = await list('failed')
    return found.length > 0 && found
  }, { what: 'a dead letter' })
  assert.deepEqual([dead.kind, dead.integration, dead.status], ['announced', null, 'failed'])
  assert.match(dead.reason, /Failed on purpose/)
  const { delivery } = await ok('GET', `${path}/${dead.id}`, workspace)
  assert.deepEqual(delivery.attemptList.map(({ attempt, outcome, status }) => [attempt, outcome, status]), [[1, 'failed', 400]])
  assert.match(delivery.attemptList[0].response, /Failed on purpose/)
  const { events } = await client.listEvents({ status: 'failed' })
  assert.deepEqual(events.map((event) => [event.id, event.type]), [[dead.id, 'message_created']])

  const heard = (times) => noted(bot, 'message text', (found) => found.length === times)
  const failedAgain = (attempts) =>
    eventually(async () => {
      const again = (await ok('GET', `${path}/${dead.id}`, workspace)).delivery
      return again.status === 'failed' && again.attemptList.length === attempts
    }, { what: `${attempts} attempts` })
  const replayed = await ok('POST', `${path}/${dead.id}/replay`, workspace)
  assert.deepEqual([replayed.delivery.id, replayed.delivery.status], [dead.id, 'pending'])
  await heard(2)
  await failedAgain(2)
  assert.deepEqual(await ok('POST', `${path}/replay`, { ...workspace, body: { since } }), { replayed: 1 })
  await heard(3)
  await failedAgain(3)
  const [first] = await notes(bot, 'message text')
  assert.deepEqual(first.ids.slice(0, 2), [conversation.id, user.id])

  await refusedRaw('ResourceNotFound', 'GET', `${path}/${nobody('evt')}`, workspace)
  await refusedRaw('ResourceNotFound', 'POST', `${path}/${nobody('evt')}/replay`, workspace)
  await refusedRaw('InvalidPayload', 'GET', `${path}?status=lost`, workspace)
})
