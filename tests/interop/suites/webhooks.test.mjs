// Webhooks (docs/webhooks.md): ours. What is sent is verified by the library of Standard Webhooks.

import http from 'node:http'
import { after, before } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { assert, eventually, nobody, ok as okay, once, refusedRaw, server } from '../lib/harness.mjs'

const got = []
let status = 200
const receiver = http.createServer((request, answer) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    got.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString('utf8') })
    answer.writeHead(status).end('taken')
  })
})

const headers = { 'x-workspace-id': server.workspaceId }
const ok = (method, target, options) => okay(method, target, { headers, ...options })

before(() => new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve)))
after(() => {
  receiver.closeAllConnections()
  receiver.close()
})

/** What came at a path, once there are `count` requests. */
const received = (path, count) =>
  eventually(() => {
    const mine = got.filter((request) => request.path === path)
    return mine.length >= count && mine
  })

/** A webhook of this bot: its path in the API, and where it goes. */
async function subscribed(bot, events) {
  const path = `/${bot.id}`
  const url = `http://127.0.0.1:${receiver.address().port}${path}`
  const { webhook } = await ok('POST', `/v1/admin/bots/${bot.id}/webhooks`, { body: { url, events } })
  return { webhook, path, target: `/v1/admin/bots/${bot.id}/webhooks/${webhook.id}` }
}

once('webhooks are signed as Standard Webhooks says, by two secrets after a rotation', async (w) => {
  const { bot, client, user, conversation } = await w.scene()
  const { webhook, path, target } = await subscribed(bot, ['message_created'])
  const say = (text) =>
    client.createMessage({ conversationId: conversation.id, userId: user.id, type: 'text', payload: { text }, tags: {} })
  const { message } = await say('grüße')
  const [first] = await received(path, 1)
  const verified = new Webhook(webhook.secret).verify(first.body, first.headers)
  assert.equal(verified.type, 'message_created')
  assert.equal(verified.botId, bot.id)
  assert.deepEqual(verified.data.message, message)
  assert.throws(() => new Webhook(webhook.secret).verify(`${first.body} `, first.headers))

  const rotated = (await ok('POST', `${target}/rotate-secret`, { body: {} })).webhook
  assert.notEqual(rotated.secret, webhook.secret)
  await say('again')
  const [, second] = await received(path, 2)
  for (const secret of [webhook.secret, rotated.secret]) new Webhook(secret).verify(second.body, second.headers)
  assert.throws(() => new Webhook(`whsec_${Buffer.alloc(32).toString('base64')}`).verify(second.body, second.headers))
  assert.equal((await ok('GET', target)).webhook.secret, undefined)
})

once('webhooks are listed, changed, tested, disabled by 410, sent again and deleted', async (w) => {
  const { bot, client } = await w.asBot()
  const { webhook, path, target } = await subscribed(bot, ['user_created', '*'])
  const listed = await ok('GET', `/v1/admin/bots/${bot.id}/webhooks`)
  assert.deepEqual(listed.webhooks.map((one) => one.id), [webhook.id])
  const changed = await ok('PUT', target, { body: { events: ['user_created'], description: 'for the tests' } })
  assert.deepEqual([changed.webhook.events, changed.webhook.description], [['user_created'], 'for the tests'])

  const { messageId } = await ok('POST', `${target}/test`, { body: {} })
  const [test] = await received(path, 1)
  assert.equal(test.headers['webhook-id'], messageId)

  status = 410
  const since = new Date(Date.now() - 60_000).toISOString()
  const { user } = await client.createUser({ tags: {} })
  await eventually(async () => !(await ok('GET', target)).webhook.enabled)
  status = 200
  assert.match((await ok('GET', target)).webhook.disabledReason, /410/)
  const failed = await ok('GET', `${target}/messages?status=failed`)
  assert.equal(failed.messages.length, 1)
  const one = `${target}/messages/${failed.messages[0].id}`
  const whole = await ok('GET', one)
  assert.deepEqual(whole.message.payload.data.user.id, user.id)
  assert.deepEqual(whole.attempts.map((attempt) => attempt.status), [410])

  await ok('PUT', target, { body: { enabled: true } })
  assert.deepEqual(await ok('POST', `${target}/replay`, { body: { since } }), { replayed: 1 })
  const again = await received(path, 3)
  assert.equal(again[2].headers['webhook-id'], again[1].headers['webhook-id'])
  await eventually(async () => (await ok('GET', one)).message.status === 'delivered')
  await ok('POST', `${one}/replay`, { body: {} })
  await received(path, 4)
  const { attempts } = await eventually(async () => {
    const page = await ok('GET', `${target}/attempts`)
    return page.attempts.length === 4 && page
  })
  assert.deepEqual(attempts.map((attempt) => attempt.status), [200, 200, 410, 200])

  assert.deepEqual(await ok('DELETE', target), {})
  await refusedRaw('ResourceNotFound', 'GET', target, { headers })
  await refusedRaw('ResourceNotFound', 'GET', `/v1/admin/bots/${nobody('bot')}/webhooks`, { headers })
})
