// @platformatic/kafka.

import zlib from 'node:zlib'
import { FAILOVER, Inbox, freshGroup, load, toBytes, toText } from './common.mjs'

const { Admin, Consumer, Producer, ProtocolError } = await load('@platformatic/kafka/dist/index.js')
const { version } = await load('@platformatic/kafka/dist/version.js')
const TOPIC = 2
const SET = 0
const EARLIEST = -2n
const LATEST = -1n
// Without these the client asks for producer id 0, which belongs to someone else.
const FRESH = { producerId: -1n, producerEpoch: -1 }
const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1

// Errors nest: an answer's error holds those of its parts, and each may have a cause.
function protocolError(error) {
  if (!error) return null
  if (error instanceof ProtocolError) return error
  for (const each of error.errors ?? []) {
    const found = protocolError(each)
    if (found) return found
  }
  return protocolError(error.cause)
}

export function failure(error) {
  const found = protocolError(error)
  if (found) return { name: found.apiId, text: found.message }
  // Metadata's error code does not get through; the client has a sentence of its own for it.
  if (error.message.startsWith('Unknown topic ')) {
    return { name: 'UNKNOWN_TOPIC_OR_PARTITION', text: error.message }
  }
  return { name: error.code ?? error.name, text: error.message }
}

class Reader {
  following = new Map()
  inbox = new Inbox()

  constructor(common, group, reset, options) {
    this.reset = reset === 'none' ? 'fail' : reset
    const { session_ms: sessionTimeout, instance, new_protocol: newProtocol } = options
    // The new protocol has its times on the broker's side.
    const membership = newProtocol
      ? { groupProtocol: 'consumer' }
      : { sessionTimeout, rebalanceTimeout: Math.max(10_000, sessionTimeout), heartbeatInterval: 200 }
    this.consumer = new Consumer({
      ...common,
      groupId: group ?? freshGroup('platformatic'),
      autocommit: false,
      isolationLevel: options.committed ? READ_COMMITTED : READ_UNCOMMITTED,
      ...membership,
      ...(instance === null ? {} : { groupInstanceId: instance }),
      maxWaitTime: 200,
      maxBytesPerPartition: 4_000_000,
    })
  }

  async #stream(options) {
    await this.stream?.close()
    const inbox = (this.inbox = new Inbox())
    const fallbackMode = this.reset
    this.stream = await this.consumer.consume({ topics: [this.topic], fallbackMode, ...options })
    this.stream.on('data', message => this.#arrived(inbox, message))
    this.stream.on('error', error => inbox.fail(error))
  }

  #arrived(inbox, { partition, offset, timestamp, key, value, headers }) {
    inbox.push({
      partition,
      offset: Number(offset),
      timestamp: Number(timestamp),
      key: toText(key),
      value: toText(value),
      headers: [...headers].map(([name, content]) => [name.toString(), toText(content)]),
    })
  }

  async subscribe(topic) {
    this.topic = topic
    await this.#stream({ mode: 'committed' })
  }

  async assign(topic, offsets) {
    this.topic = topic
    const wanted = offsets.map(([partition, offset]) => ({ topic, partition, offset: BigInt(offset) }))
    await this.#stream({ mode: 'manual', offsets: wanted })
  }

  async poll(timeoutMs) {
    const records = await this.inbox.take(timeoutMs)
    for (const { partition, offset } of records) this.following.set(partition, offset + 1)
    return records
  }

  assigned() {
    return (this.consumer.assignments ?? []).flatMap(each => each.partitions)
  }

  async seek(topic, partition, offset) {
    await this.assign(topic, [[partition, offset]])
  }

  async commit() {
    const offsets = [...this.following].map(([partition, offset]) => ({
      topic: this.topic,
      partition,
      offset: BigInt(offset),
      leaderEpoch: -1,
    }))
    await this.consumer.commit({ offsets })
  }

  async close() {
    await this.stream?.close()
    await this.consumer.close(true)
  }
}

function messagesOf(topic, records) {
  return records.map(record => ({
    topic,
    ...(record.key === null ? {} : { key: toBytes(record.key) }),
    ...(record.value === null ? {} : { value: toBytes(record.value) }),
    ...(record.partition === null ? {} : { partition: record.partition }),
    ...(record.timestamp === null ? {} : { timestamp: BigInt(record.timestamp) }),
    headers: new Map(record.headers.map(([n, v]) => [Buffer.from(n), toBytes(v) ?? undefined])),
  }))
}

class Writer {
  constructor(common, transactionalId) {
    this.common = common
    this.producer = new Producer({ ...common, transactionalId, idempotent: true, ...FRESH })
  }

  async begin() {
    this.open = await this.producer.beginTransaction()
  }

  async send(topic, records) {
    await this.open.send({ messages: messagesOf(topic, records), acks: -1 })
  }

  // The client takes offsets from a consumer and its messages; these stand for a group without members.
  async send_offsets(groupId, topic, offsets) {
    const consumer = new Consumer({ ...this.common, groupId })
    const coordinatorId = await consumer.findGroupCoordinator()
    await this.open.addConsumer(consumer)
    const member = { groupId, coordinatorId, generationId: -1, memberId: '' }
    for (const [partition, offset] of offsets) {
      const metadata = { consumer: member }
      await this.open.addOffset({ topic, partition, offset: BigInt(offset) - 1n, metadata })
    }
    await consumer.close(true)
  }

  async commit() {
    await this.open.commit()
  }

  async abort() {
    await this.open.abort()
  }

  async close() {
    await this.producer.close()
  }
}

class Driver {
  readers = new Map()
  writers = new Map()

  constructor(common) {
    this.common = common
    this.admin = new Admin(common)
  }

  version() {
    return `@platformatic/kafka ${version}`
  }

  cannot() {
    const without = typeof zlib.zstdCompressSync === 'function' ? [] : ['codec_zstd']
    return Object.fromEntries(without.map(name => [name, 'it needs zstd in Node, which comes with 22.15']))
  }

  async create_topic(topic, partitions, configs) {
    const entries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await this.admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries })
  }

  async delete_topic(topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async list_topics() {
    return this.admin.listTopics()
  }

  async partitions(topic) {
    const metadata = await this.admin.metadata({ topics: [topic], forceUpdate: true })
    return metadata.topics.get(topic).partitionsCount
  }

  async add_partitions(name, count) {
    await this.admin.createPartitions({ topics: [{ name, count, assignments: null }] })
  }

  async describe_configs(resourceName) {
    const resources = [{ resourceType: TOPIC, resourceName }]
    const found = await this.admin.describeConfigs({ resources })
    return Object.fromEntries(found[0].configs.map(each => [each.name, each.value]))
  }

  async alter_configs(resourceName, wanted) {
    const configs = Object.entries(wanted).map(([name, value]) => ({
      name,
      value,
      configOperation: SET,
    }))
    const resources = [{ resourceType: TOPIC, resourceName, configs }]
    await this.admin.incrementalAlterConfigs({ resources })
  }

  async delete_records(name, before) {
    const partitions = before.map(([partition, offset]) => ({ partition, offset: BigInt(offset) }))
    await this.admin.deleteRecords({ topics: [{ name, partitions }] })
  }

  async #offset(name, partitionIndex, timestamp) {
    const partitions = [{ partitionIndex, timestamp }]
    const found = await this.admin.listOffsets({ topics: [{ name, partitions }] })
    return Number(found[0].partitions[0].offset)
  }

  async watermarks(topic, partition) {
    const low = await this.#offset(topic, partition, EARLIEST)
    return [low, await this.#offset(topic, partition, LATEST)]
  }

  async offset_for_time(topic, partition, timestamp) {
    return this.#offset(topic, partition, BigInt(timestamp))
  }

  async list_groups() {
    return [...(await this.admin.listGroups()).keys()]
  }

  async describe_group(group) {
    const { state, members } = (await this.admin.describeGroups({ groups: [group] })).get(group)
    return [state.toLowerCase(), members.size]
  }

  async delete_group(group) {
    await this.admin.deleteGroups({ groups: [group] })
  }

  async committed(groupId, name, count) {
    const partitionIndexes = [...Array(count).keys()]
    const groups = [{ groupId, topics: [{ name, partitionIndexes }] }]
    const found = await this.admin.listConsumerGroupOffsets({ groups })
    const { partitions } = found[0].topics[0]
    return partitions.map(each => [each.partitionIndex, Number(each.committedOffset)])
  }

  async set_offsets(groupId, name, offsets) {
    const partitionOffsets = offsets.map(([partition, offset]) => ({
      partition,
      offset: BigInt(offset),
    }))
    await this.admin.alterConsumerGroupOffsets({ groupId, topics: [{ name, partitionOffsets }] })
  }

  async produce(topic, records, compression, acks, idempotent) {
    const producer = new Producer({ ...this.common, idempotent, autocreateTopics: true })
    try {
      await producer.send({ messages: messagesOf(topic, records), acks, compression })
    } finally {
      await producer.close()
    }
  }

  async consumer(id, group, reset, options) {
    this.readers.set(id, new Reader(this.common, group, reset, options))
  }

  async transactions(id, transactionalId) {
    const writer = new Writer(this.common, transactionalId)
    // Beginning asks for the producer id, which ends what others of this id left open.
    const opened = await writer.producer.beginTransaction()
    await opened.cancel()
    this.writers.set(id, writer)
  }

  async transaction(id, op, ...args) {
    return this.writers.get(id)[op](...args)
  }

  async reader(id, op, ...args) {
    return this.readers.get(id)[op](...args)
  }
}

export async function open(bootstrap) {
  return new Driver({
    clientId: 'compat',
    bootstrapBrokers: bootstrap.split(','),
    // A stream that gave up is not usable again; its documentation says to try more often where brokers may go.
    retries: FAILOVER ? 200 : 5,
    retryDelay: 100,
    timeout: 20_000,
  })
}
