/** JSON as Go's encoding/json writes it: what etcd keeps of a member, in the log and in bucket `members`, must come out the same byte for byte. */
import type { NewMember } from '../types.ts';

// Go escapes these three for the sake of web pages, and the two separators for that of JavaScript.
const ESCAPED_BY_GO = /[<>&\u2028\u2029]/g;

/** A member that was never started: id as an exact number (JavaScript's own would round it), peer URLs, name; no client URLs yet. */
export function memberJson({ id, peerUrls, name }: NewMember): Buffer {
  return Buffer.from(`{"id":${id},${peerUrlsPart(peerUrls)},"name":${goString(name)}}`);
}

/** What the v2 store holds of the member. */
export function raftAttributesJson(peerUrls: readonly string[]): string {
  return `{${peerUrlsPart(peerUrls)}}`;
}

/** One string with its quotes. */
export function goString(text: string): string {
  return JSON.stringify(text.toWellFormed()).replace(ESCAPED_BY_GO, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function peerUrlsPart(urls: readonly string[]): string {
  return `"peerURLs":[${urls.map(goString).join(',')}]`;
}
