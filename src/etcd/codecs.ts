/** The calls that are made to one member, by path and messages. Generated messages for all but the snapshot's answers. */
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Codec } from './channel.ts';
import {
  AlarmRequestSchema,
  AlarmResponseSchema,
  AuthenticateRequestSchema,
  AuthenticateResponseSchema,
  MemberListRequestSchema,
  MemberListResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  SnapshotRequestSchema,
  StatusRequestSchema,
  StatusResponseSchema,
} from './proto/rpc_pb.ts';
import { readSnapshotMessage } from './snapshot-message.ts';
import type { SnapshotMessage } from './types.ts';

export const STATUS = codec('Maintenance/Status', StatusRequestSchema, StatusResponseSchema);
export const ALARM = codec('Maintenance/Alarm', AlarmRequestSchema, AlarmResponseSchema);
export const MEMBER_LIST = codec('Cluster/MemberList', MemberListRequestSchema, MemberListResponseSchema);
export const AUTHENTICATE = codec('Auth/Authenticate', AuthenticateRequestSchema, AuthenticateResponseSchema);
export const RANGE = codec('KV/Range', RangeRequestSchema, RangeResponseSchema);

export const SNAPSHOT: Codec<MessageInitShape<typeof SnapshotRequestSchema>, SnapshotMessage> = {
  path: '/etcdserverpb.Maintenance/Snapshot',
  encode: encoder(SnapshotRequestSchema),
  decode: readSnapshotMessage,
};

function codec<Request extends DescMessage, Reply extends DescMessage>(
  method: string,
  request: Request,
  reply: Reply,
): Codec<MessageInitShape<Request>, MessageShape<Reply>> {
  return { path: `/etcdserverpb.${method}`, encode: encoder(request), decode: (bytes) => fromBinary(reply, bytes) };
}

function encoder<Request extends DescMessage>(schema: Request): (value: MessageInitShape<Request>) => Buffer {
  return (value) => {
    const bytes = toBinary(schema, create(schema, value));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  };
}
