// kafkajs, with the codecs that its documentation says to plug in.

import { readFile } from 'node:fs/promises'
import { FAILOVER, freshGroup, Inbox, load, locate, toBytes, toText } from './common.mjs'

const { default: kafkajs } = await load('kafkajs/index.js')
const { default: snappy } = await load('kafkajs-snappy/src/index.js')
const { default: lz4 } = await load('lz4-napi/index.js')
const { default: zstd } = await load('@bokuweb/zstd-wasm/dist/common/index.node.js')
const { version } = JSON.parse(await readFile(locate('kafkajs/package.json')))

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
await zstd.init()
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const TOPIC = 2

// The protocol's error may be wrapped, or be one of a list by error, group or partition.
function inner(error) {
  const lists = [error.errors?.[0], error.groups?.[0]?.error, error.partitions?.[0]?.error]
  return error.cause ?? error.originalError ?? lists.find(each => each)
}

export function failure(error) {
  for (let each = error; each; each = inner(each)) {
    if (each.type) return { name: each.type, text: each.message }
  }
  return { name: error.name, text: error.message }
}

class Reader {
  inbox = new Inbox()
  held = []
  following = new Map()

  constructor(kafka, group, reset, { committed, session_ms: sessionTimeout }) {
    this.reset = reset
    this.consumer = kafka.consumer({
      groupId: group ?? freshGroup('kafkajs'),
      readUncommitted: !committed,
      sessionTimeout,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 200,
      maxWaitTimeInMs: 200,
      maxBytesPerPartition: 4_000_000,
      allowAutoTopicCreation: false,
    })
    const { GROUP_JOIN, REBALANCING, CRASH } = this.consumer.events
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.held = Object.values(payload.memberAssignment).flat()
      this.joined?.()
    })
    this.consumer.on(REBALANCING, () => (this.held = []))
    this.consumer.on(CRASH, ({ payload }) => {
      if (!payload.restart) this.inbox.fail(payload.error)
    })
  }

  async subscribe_pattern(pattern) {
    await this.subscribe(new RegExp(pattern))
  }

  async subscribe(topic) {
    this.topic = topic
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [topic], fromBeginning: this.reset === 'earliest' })
    await this.consumer.run({ autoCommit: false, eachMessage: async each => this.#arrived(each) })
  }

  #arrived({ partition, message }) {
    const headers = Object.entries(message.headers ?? {}).flatMap(([name, values]) =>
      [values].flat().map(value => [name, toText(value)])
    )
    const { key, value, offset, timestamp } = message
    this.inbox.push({
      partition,
      offset: Number(offset),
      timestamp: Number(timestamp),
      key: toText(key),
      value: toText(value),
      headers,
    })
  }

  async assign(topic, offsets) {
    const joined = new Promise(resolve => (this.joined = resolve))
    await this.subscribe(topic)
    await joined
    for (const [partition, offset] of offsets) this.seek(topic, partition, offset)
  }

  async poll(timeoutMs) {
    const records = await this.inbox.take(timeoutMs)
    for (const { partition, offset } of records) this.following.set(partition, offset + 1)
    return records
  }

  assigned() {
    return this.held
  }

  seek(topic, partition, offset) {
    this.consumer.seek({ topic, partition, offset: String(offset) })
    this.inbox.clear(partition)
  }

  async commit() {
    const offsets = [...this.following].map(([partition, offset]) => ({
      topic: this.topic,
      partition,
      offset: String(offset),
    }))
    await this.consumer.commitOffsets(offsets)
  }

  async close() {
    await this.consumer.disconnect()
  }
}

function messagesOf(records) {
  return records.map(record => {
    const headers = {}
    for (const [name, value] of record.headers) (headers[name] ??= []).push(toBytes(value))
    return {
      key: toBytes(record.key),
      value: toBytes(record.value),
      headers,
      ...(record.partition === null ? {} : { partition: record.partition }),
      ...(record.timestamp === null ? {} : { timestamp: String(record.timestamp) }),
    }
  })
}

// With failing brokers a call for each partition: the client keeps answers by broker, and of a call for several it never
// sends what was refused and whose new leader is a broker that has answered it already for another partition.
function batchesOf(records) {
  if (!FAILOVER) return [messagesOf(records)]
  const partitions = [...new Set(records.map(record => record.partition))]
  return partitions.map(each => messagesOf(records.filter(({ partition }) => partition === each)))
}

class Writer {
  static async open(kafka, transactionalId) {
    const writer = new Writer()
    writer.producer = kafka.producer({
      transactionalId,
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    await writer.producer.connect()
    // Only a first transaction asks for the producer id, which ends what others of this id left open.
    await writer.begin()
    await writer.abort()
    return writer
  }

  async begin() {
    this.open = await this.producer.transaction()
  }

  async send(topic, records) {
    for (const messages of batchesOf(records)) await this.open.send({ topic, messages })
  }

  async send_offsets(consumerGroupId, topic, offsets) {
    const partitions = offsets.map(([partition, offset]) => ({ partition, offset: String(offset) }))
    await this.open.sendOffsets({ consumerGroupId, topics: [{ topic, partitions }] })
  }

  async commit() {
    await this.open.commit()
  }

  async abort() {
    await this.open.abort()
  }

  async close() {
    await this.producer.disconnect()
  }
}

class Driver {
  readers = new Map()
  writers = new Map()

  constructor(kafka) {
    this.kafka = kafka
    this.admin = kafka.admin()
  }

  version() {
    return `kafkajs ${version}`
  }

  async create_topic(topic, numPartitions, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }]
    if (!(await this.admin.createTopics({ topics }))) {
      // The client answers false for one error only, and keeps the others as exceptions.
      throw Object.assign(new Error(topic), { type: 'TOPIC_ALREADY_EXISTS' })
    }
  }

  async delete_topic(topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async list_topics() {
    return this.admin.listTopics()
  }

  async partitions(topic) {
    const { topics } = await this.admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length
  }

  async add_partitions(topic, count) {
    await this.admin.createPartitions({ topicPartitions: [{ topic, count }] })
  }

  async describe_configs(name) {
    const resources = [{ type: TOPIC, name }]
    const { resources: found } = await this.admin.describeConfigs({ resources })
    return Object.fromEntries(found[0].configEntries.map(each => [each.configName, each.configValue]))
  }

  async alter_configs(name, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await this.admin.alterConfigs({ resources: [{ type: TOPIC, name, configEntries }] })
  }

  async delete_records(topic, before) {
    // The client deletes only in a topic that it has looked at before.
    await this.admin.fetchTopicOffsets(topic)
    const partitions = before.map(([partition, offset]) => ({ partition, offset: String(offset) }))
    await this.admin.deleteTopicRecords({ topic, partitions })
  }

  async watermarks(topic, partition) {
    const found = await this.admin.fetchTopicOffsets(topic)
    const { low, high } = found.find(each => each.partition === partition)
    return [Number(low), Number(high)]
  }

  async offset_for_time(topic, partition, timestamp) {
    const found = await this.admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    return Number(found.find(each => each.partition === partition).offset)
  }

  async list_groups() {
    return (await this.admin.listGroups()).groups.map(each => each.groupId)
  }

  async describe_group(group) {
    const { state, members } = (await this.admin.describeGroups([group])).groups[0]
    return [state.toLowerCase(), members.length]
  }

  async delete_group(group) {
    await this.admin.deleteGroups([group])
  }

  async committed(groupId, topic) {
    const found = await this.admin.fetchOffsets({ groupId, topics: [topic] })
    return found[0].partitions.map(each => [each.partition, Number(each.offset)])
  }

  async set_offsets(groupId, topic, offsets) {
    const partitions = offsets.map(([partition, offset]) => ({ partition, offset: String(offset) }))
    await this.admin.setOffsets({ groupId, topic, partitions })
  }

  // With failing brokers one producer for all calls: the first request of a fresh one, for its producer id, is not tried again
  // when the connection breaks.
  async #producer(idempotent) {
    if (this.lasting) return this.lasting
    const createPartitioner = kafkajs.Partitioners.DefaultPartitioner
    const producer = this.kafka.producer({ idempotent, createPartitioner })
    await producer.connect()
    if (FAILOVER) this.lasting = producer
    return producer
  }

  async produce(topic, records, codec, acks, idempotent) {
    const producer = await this.#producer(idempotent)
    try {
      const compression = CompressionTypes[CODECS[codec]]
      for (const messages of batchesOf(records)) await producer.send({ topic, messages, acks, compression })
    } finally {
      if (!FAILOVER) await producer.disconnect()
    }
  }

  async consumer(id, group, reset, options) {
    this.readers.set(id, new Reader(this.kafka, group, reset, options))
  }

  async transactions(id, transactionalId) {
    this.writers.set(id, await Writer.open(this.kafka, transactionalId))
  }

  async transaction(id, op, ...args) {
    return this.writers.get(id)[op](...args)
  }

  async reader(id, op, ...args) {
    return this.readers.get(id)[op](...args)
  }
}

export async function open(bootstrap) {
  const kafka = new Kafka({
    brokers: bootstrap.split(','),
    clientId: 'compat',
    logLevel: logLevel.NOTHING,
    // By default the client goes on for about ten seconds; with five quick tries it gives up within one and a half.
    retry: { retries: FAILOVER ? 60 : 5, initialRetryTime: 50, maxRetryTime: 500 },
  })
  const driver = new Driver(kafka)
  await driver.admin.connect()
  return driver
}
