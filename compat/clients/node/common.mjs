// What both JavaScript drivers share: where packages lie, base64, and a queue that can be waited on.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export const locate = path => join(process.env.COMPAT_NODE_MODULES, path)
export const load = path => import(pathToFileURL(locate(path)))

export const toBytes = text => (text === null ? null : Buffer.from(text, 'base64'))
export const toText = bytes =>
  bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64')

// Whether brokers are killed meanwhile.
export const FAILOVER = 'COMPAT_KILLING' in process.env

let counter = 0
export const freshGroup = client => `${client}-${process.pid}-${Date.now()}-${counter++}`

// Records as they arrive; `take` waits for the first one or the timeout, and raises an error that came.
export class Inbox {
  items = []
  error = null
  #wake = null

  push(item) {
    this.items.push(item)
    this.#wake?.()
  }

  fail(error) {
    this.error ??= error
    this.#wake?.()
  }

  clear(partition) {
    this.items = this.items.filter(item => item.partition !== partition)
  }

  async take(timeoutMs) {
    if (this.items.length === 0 && !this.error) {
      await new Promise(resolve => {
        const timer = setTimeout(resolve, timeoutMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
    if (this.error) {
      const error = this.error
      this.error = null
      throw error
    }
    return this.items.splice(0, 5000)
  }
}
