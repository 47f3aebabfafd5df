/** Peer URLs as etcd's NewURLs wants them: scheme, host and port, nothing behind. Neither is a name looked up nor an address rewritten: ids are made of its very bytes. */
import { WardenError } from '../errors.ts';

/** A comma-separated list, in the order of its bytes. @param member whose they are, for the sentence. @throws WardenError `usage` */
export function parsePeerUrls(text: string, member: string): readonly string[] {
  return text
    .split(',')
    .map((url) => parsePeerUrl(url, member))
    .toSorted(byBytes);
}

/** @throws WardenError `usage` */
export function parsePeerUrl(text: string, member: string): string {
  const url = text.trim();
  const match = /^(https?)(:\/\/(?:\[[0-9a-fA-F:.%]+\]|[\w.-]+):(\d{1,5}))$/i.exec(url);
  // Of all that may be written in several ways Go writes the scheme alone anew.
  if (match !== null && Number(match[3]) > 0 && Number(match[3]) < 65_536) return match[1]!.toLowerCase() + match[2]!;
  const bare = /^https?:\/\/[0-9a-f]*(:[0-9a-f]*){2,}$/i.test(url);
  throw new WardenError('usage', `${JSON.stringify(url)} is no peer URL of member ${member}`, {
    hint: bare
      ? 'an IPv6 address stands in brackets: https://[2001:db8::1]:2380'
      : 'scheme, host and port, nothing behind: https://10.0.0.1:2380',
  });
}

/** The order in which etcd sorts them. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
