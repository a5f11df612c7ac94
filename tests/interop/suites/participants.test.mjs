// Participants: runtime.md § 4.

import { assert, every, nobody } from '../lib/harness.mjs'

every('a participant is added, once, listed, read and removed', 'addParticipant', async (w) => {
  const { client, conversation, user } = await w.scene()
  const { id } = conversation
  assert.deepEqual((await client.listParticipants({ id })).participants, [])
  assert.deepEqual((await client.addParticipant({ id, userId: user.id })).participant, user)
  assert.deepEqual((await client.addParticipant({ id, userId: user.id })).participant, user, 'adding again changes nothing')
  assert.deepEqual((await client.listParticipants({ id })).participants, [user])
  assert.deepEqual((await client.getParticipant({ id, userId: user.id })).participant, user)
  assert.deepEqual(await client.removeParticipant({ id, userId: user.id }), {})
  assert.deepEqual((await client.listParticipants({ id })).participants, [])
  await w.refused('ResourceNotFound', client.getParticipant({ id, userId: user.id }))
  await w.refused('ResourceNotFound', client.removeParticipant({ id, userId: user.id }))
})

every('unknown conversations and users are told apart', 'addParticipant', async (w) => {
  const { client, conversation, user } = await w.scene()
  const gone = nobody('conv')
  await w.refused('ResourceNotFound', client.listParticipants({ id: gone }))
  await w.refused('ResourceNotFound', client.addParticipant({ id: gone, userId: user.id }))
  await w.refused('ResourceNotFound', client.getParticipant({ id: gone, userId: user.id }))
  await w.refused('ResourceNotFound', client.removeParticipant({ id: gone, userId: user.id }))
  await w.refused('ReferenceNotFound', client.addParticipant({ id: conversation.id, userId: nobody('user') }))
  await w.refused('ResourceNotFound', client.getParticipant({ id: conversation.id, userId: nobody('user') }))
  await w.refused('InvalidPayload', client.addParticipant({ id: conversation.id, userId: 'short' }))
  await w.refused('InvalidPayload', client.addParticipant({ id: conversation.id }))
})

every('a user of another bot is no participant', 'addParticipant', async (w) => {
  const { client, conversation } = await w.scene()
  const stranger = (await w.scene()).user
  await w.refused('ReferenceNotFound', client.addParticipant({ id: conversation.id, userId: stranger.id }))
})

every('the bot itself is always acceptable', 'addParticipant', async (w) => {
  const { bot, client, conversation } = await w.scene()
  const { participant } = await client.addParticipant({ id: conversation.id, userId: bot.id })
  assert.equal(participant.id, bot.id)
  assert.deepEqual((await client.listParticipants({ id: conversation.id })).participants, [participant])
})

every('a user of another integration instance conflicts', 'addParticipant', async (w) => {
  const bot = await w.newBot()
  const [one, two] = [await w.newIntegration(), await w.newIntegration()]
  await w.install(bot, one)
  await w.install(bot, two)
  const { conversation } = await w.asIntegration(bot, one).createConversation({ channel: 'channel', tags: {} })
  const { user } = await w.asIntegration(bot, two).createUser({ tags: {} })
  const { client } = await w.asBot(bot)
  await w.refused('RelationConflict', client.addParticipant({ id: conversation.id, userId: user.id }))
})

every('the author of a message becomes a participant', 'listParticipants', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  await say('hello')
  const { participants, meta } = await client.listParticipants({ id: conversation.id })
  assert.deepEqual(participants.map((p) => p.id), [user.id])
  assert.deepEqual(meta, {})
})

every('many participants come in pages', 'listParticipants', async (w) => {
  const { client, conversation } = await w.scene()
  const ids = new Set()
  for (let n = 0; n < 23; n++) {
    const { user } = await client.createUser({ tags: { n: `${n}` } })
    await client.addParticipant({ id: conversation.id, userId: user.id })
    ids.add(user.id)
  }
  const first = await client.listParticipants({ id: conversation.id })
  assert.equal(first.participants.length, 20)
  const second = await client.listParticipants({ id: conversation.id, nextToken: first.meta.nextToken })
  assert.equal(second.meta.nextToken, undefined)
  const all = [...first.participants, ...second.participants]
  assert.deepEqual(new Set(all.map((p) => p.id)), ids)
  assert.equal(all.length, 23)
  assert.equal((await client.list.participants({ id: conversation.id }).collect()).length, 23)
})
