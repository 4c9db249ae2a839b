// @platformatic/kafka.

import zlib from 'node:zlib'
import { Inbox, freshGroup, load, toBytes, toText } from './common.mjs'

const { Admin, Consumer, Producer, ProtocolError } = await load('@platformatic/kafka/dist/index.js')
const { version } = await load('@platformatic/kafka/dist/version.js')
const TOPIC = 2
const SET = 0
const EARLIEST = -2n
const LATEST = -1n

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

  constructor(common, { group, reset }) {
    this.reset = reset === 'none' ? 'fail' : reset
    this.consumer = new Consumer({
      ...common,
      groupId: group ?? freshGroup('platformatic'),
      autocommit: false,
      sessionTimeout: 10_000,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 200,
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

class Driver {
  readers = new Map()

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

  async produce(topic, records, compression, acks, idempotent) {
    const producer = new Producer({ ...this.common, idempotent, autocreateTopics: true })
    try {
      const messages = records.map(record => ({
        topic,
        ...(record.key === null ? {} : { key: toBytes(record.key) }),
        ...(record.value === null ? {} : { value: toBytes(record.value) }),
        ...(record.partition === null ? {} : { partition: record.partition }),
        ...(record.timestamp === null ? {} : { timestamp: BigInt(record.timestamp) }),
        headers: new Map(record.headers.map(([n, v]) => [Buffer.from(n), toBytes(v) ?? undefined])),
      }))
      await producer.send({ messages, acks, compression })
    } finally {
      await producer.close()
    }
  }

  async consumer(id, group, reset) {
    this.readers.set(id, new Reader(this.common, { group, reset }))
  }

  async reader(id, op, ...args) {
    return this.readers.get(id)[op](...args)
  }
}

export async function open(bootstrap) {
  return new Driver({
    clientId: 'compat',
    bootstrapBrokers: [bootstrap],
    retries: 5,
    retryDelay: 100,
    timeout: 20_000,
  })
}
