// What js-libp2p needs and elder versions of Node.js lack, such as Debian's 18.
import { webcrypto } from 'node:crypto'

Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}
globalThis.crypto ??= webcrypto
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor (type, options) { super(type, options); this.detail = options?.detail ?? null }
}
