/** The calls that are made to one member, by path and messages. Snapshot is not among them: see snapshot-call.ts. */
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Codec } from './channel.ts';
import {
  AlarmRequestSchema,
  AlarmResponseSchema,
  AuthenticateRequestSchema,
  AuthenticateResponseSchema,
  CompactionRequestSchema,
  CompactionResponseSchema,
  DefragmentRequestSchema,
  DefragmentResponseSchema,
  HashKVRequestSchema,
  HashKVResponseSchema,
  MemberAddRequestSchema,
  MemberAddResponseSchema,
  MemberListRequestSchema,
  MemberListResponseSchema,
  MemberPromoteRequestSchema,
  MemberPromoteResponseSchema,
  MemberRemoveRequestSchema,
  MemberRemoveResponseSchema,
  MoveLeaderRequestSchema,
  MoveLeaderResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  StatusRequestSchema,
  StatusResponseSchema,
} from './proto/rpc_pb.ts';

export const STATUS = codec('Maintenance/Status', StatusRequestSchema, StatusResponseSchema);
export const ALARM = codec('Maintenance/Alarm', AlarmRequestSchema, AlarmResponseSchema);
export const HASH_KV = codec('Maintenance/HashKV', HashKVRequestSchema, HashKVResponseSchema);
export const DEFRAGMENT = codec('Maintenance/Defragment', DefragmentRequestSchema, DefragmentResponseSchema);
export const MOVE_LEADER = codec('Maintenance/MoveLeader', MoveLeaderRequestSchema, MoveLeaderResponseSchema);
export const MEMBER_LIST = codec('Cluster/MemberList', MemberListRequestSchema, MemberListResponseSchema);
export const MEMBER_ADD = codec('Cluster/MemberAdd', MemberAddRequestSchema, MemberAddResponseSchema);
export const MEMBER_REMOVE = codec('Cluster/MemberRemove', MemberRemoveRequestSchema, MemberRemoveResponseSchema);
export const MEMBER_PROMOTE = codec('Cluster/MemberPromote', MemberPromoteRequestSchema, MemberPromoteResponseSchema);
export const AUTHENTICATE = codec('Auth/Authenticate', AuthenticateRequestSchema, AuthenticateResponseSchema);
export const RANGE = codec('KV/Range', RangeRequestSchema, RangeResponseSchema);
export const COMPACT = codec('KV/Compact', CompactionRequestSchema, CompactionResponseSchema);

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
