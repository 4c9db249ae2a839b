//! A raw connection: requests are encoded once and sent again and again, answers are skipped over, so
//! that the generator costs as little as it can. Versions without tagged fields only.

use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Keys of the APIs that are used.
#[derive(Clone, Copy, Debug)]
#[repr(i16)]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    JoinGroup = 11,
    Heartbeat = 12,
    SyncGroup = 14,
    CreateTopics = 19,
    FindCoordinator = 10,
    InitProducerId = 22,
    EndTxn = 26,
    ConsumerGroupHeartbeat = 68,
}

/// Writes the protocol's plain types.
#[derive(Debug, Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// Appends it.
    pub fn int8(mut self, value: i8) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends it.
    pub fn int16(mut self, value: i16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends it.
    pub fn int32(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends it.
    pub fn int64(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends it.
    pub fn string(mut self, value: &str) -> Self {
        self = self.int16(value.len() as i16);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// Appends it.
    pub fn bytes(mut self, value: &[u8]) -> Self {
        self = self.int32(value.len() as i32);
        self.0.extend_from_slice(value);
        self
    }

    /// A string of the versions with tagged fields; short ones only.
    pub fn compact(self, value: &str) -> Self {
        let mut body = self.int8((value.len() + 1) as i8);
        body.0.extend_from_slice(value.as_bytes());
        body
    }

    /// A length of the versions with tagged fields.
    pub fn varint(mut self, value: u32) -> Self {
        let mut rest = value;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
        self
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes as they are.
    pub fn plain(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// The whole frame, with its length and a header of version 1.
    pub fn frame(self, api: Api, version: i16) -> Vec<u8> {
        let header = Self::default().int16(api as i16).int16(version).int32(7).string("bench");
        let length = header.0.len() + self.0.len();
        let mut frame = Self::default().int32(length as i32).0;
        frame.extend_from_slice(&header.0);
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// The whole frame of a request in a version with tagged fields, of which it has none.
pub fn tagged_frame(body: Body, api: Api, version: i16) -> Vec<u8> {
    let tags = Body::default().int8(0);
    tags.plain(&body.0).int8(0).frame(api, version)
}

/// A Produce request of one batch for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
    let body = Body::default().int16(-1).int16(acks).int32(30_000);
    let body = body.int32(1).string(topic).int32(1).int32(partition).bytes(batch);
    body.frame(Api::Produce, 7)
}

/// A Fetch request of one partition, without a session.
pub fn fetch(topic: &str, offset: i64, max_wait_ms: i32, max_bytes: i32) -> Vec<u8> {
    let body = Body::default().int32(-1).int32(max_wait_ms).int32(1).int32(50 << 20).int8(0);
    let body = body.int32(0).int32(-1).int32(1).string(topic).int32(1);
    let body = body.int32(0).int32(-1).int64(offset).int64(-1).int32(max_bytes);
    body.int32(0).string("").frame(Api::Fetch, 11)
}

/// A member of a group, which it makes up alone.
#[derive(Debug)]
pub struct Member {
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    /// A Heartbeat request.
    pub fn heartbeat(&self) -> Vec<u8> {
        let body = Body::default().string(&self.group).int32(self.generation).string(&self.id);
        body.frame(Api::Heartbeat, 1)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends an encoded request.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(frame)?)
    }

    /// Reads an answer; its bytes after the length and the correlation id.
    pub fn receive(&mut self) -> Result<&[u8]> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        self.answer.resize(usize::try_from(i32::from_be_bytes(length))?, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(self.answer.get(4..).unwrap_or_default())
    }

    /// Sends the same request `count` times with so many under way, and reads every answer.
    pub fn pipeline(&mut self, frame: &[u8], count: u64, under_way: u64) -> Result<()> {
        let first = under_way.min(count);
        for _ in 0..first {
            self.send(frame)?;
        }
        for answered in 0..count {
            self.receive()?;
            if answered + first < count {
                self.send(frame)?;
            }
        }
        Ok(())
    }

    /// Sends one request and reads its answer.
    pub fn ask(&mut self, frame: &[u8]) -> Result<Answer> {
        self.send(frame)?;
        self.answer()
    }

    /// Reads one answer.
    pub fn answer(&mut self) -> Result<Answer> {
        Ok(Answer(self.receive()?.to_vec(), 0))
    }

    /// Creates a topic.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<()> {
        self.create_replicated(topic, partitions, 1, &[])
    }

    /// The same with several replicas, and settings.
    pub fn create_replicated(
        &mut self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let body = Body::default().int32(1).string(topic).int32(partitions).int16(replicas);
        let mut body = body.int32(0).int32(configs.len() as i32);
        for (name, value) in configs {
            body = body.string(name).string(value);
        }
        let body = body.int32(30_000).int8(0);
        let mut answer = self.ask(&body.frame(Api::CreateTopics, 4))?;
        answer.skip(4 + 4)?;
        answer.string()?;
        answer.check("CreateTopics")
    }

    /// Sends one Produce request and looks at its error code.
    pub fn check_produce(&mut self, frame: &[u8]) -> Result<()> {
        let mut answer = self.ask(frame)?;
        answer.skip(4)?;
        answer.string()?;
        answer.skip(4 + 4)?;
        answer.check("Produce")
    }

    /// Sends one Fetch request, looks at its error codes; the number of record bytes that came.
    pub fn check_fetch(&mut self, frame: &[u8]) -> Result<i32> {
        let mut answer = self.ask(frame)?;
        answer.skip(4)?;
        answer.check("Fetch")?;
        answer.skip(4 + 4)?;
        answer.string()?;
        answer.skip(4 + 4)?;
        answer.check("Fetch of the partition")?;
        answer.skip(8 + 8 + 8)?;
        let aborted = answer.int32()?;
        answer.skip(usize::try_from(aborted.max(0))? * 16 + 4)?;
        answer.int32()
    }

    /// Asks who coordinates a group, which makes the topic of the coordinators where there is none yet.
    pub fn find_coordinator(&mut self, group: &str) -> Result<()> {
        self.find(group, 0)
    }

    /// The same for a transactional id.
    pub fn find_transaction_coordinator(&mut self, id: &str) -> Result<()> {
        self.find(id, 1)
    }

    fn find(&mut self, key: &str, kind: i8) -> Result<()> {
        let body = Body::default().string(key).int8(kind);
        let mut answer = self.ask(&body.frame(Api::FindCoordinator, 2))?;
        answer.skip(4)?;
        answer.check("FindCoordinator")
    }

    /// Joins a group of its own.
    pub fn join(&mut self, group: &str) -> Result<Member> {
        self.find_coordinator(group)?;
        let body = Body::default().string(group).int32(30_000).int32(30_000).string("");
        let body = body.string("consumer").int32(1).string("range").bytes(&[]);
        let mut answer = self.ask(&body.frame(Api::JoinGroup, 2))?;
        answer.skip(4)?;
        answer.check("JoinGroup")?;
        let generation = answer.int32()?;
        answer.string()?;
        answer.string()?;
        let member = Member { group: group.to_owned(), id: answer.string()?, generation };
        let body = Body::default().string(group).int32(generation).string(&member.id);
        let body = body.int32(1).string(&member.id).bytes(&[]);
        let mut answer = self.ask(&body.frame(Api::SyncGroup, 1))?;
        answer.skip(4)?;
        answer.check("SyncGroup")?;
        self.check_heartbeat(&member)?;
        Ok(member)
    }

    fn check_heartbeat(&mut self, member: &Member) -> Result<()> {
        let mut answer = self.ask(&member.heartbeat())?;
        answer.skip(4)?;
        answer.check("Heartbeat")
    }
}

/// An answer that is read from the front.
#[derive(Debug)]
pub struct Answer(Vec<u8>, usize);

impl Answer {
    /// The next bytes.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some(found) = self.0.get(self.1..self.1 + N) else { bail!("the answer is too short") };
        self.1 += N;
        Ok(found.try_into()?)
    }

    /// Goes on behind so many bytes.
    pub fn skip(&mut self, count: usize) -> Result<()> {
        self.1 += count;
        if self.1 > self.0.len() {
            bail!("the answer is too short");
        }
        Ok(())
    }

    /// The next one.
    pub fn int16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    /// The next one.
    pub fn int32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// The next one.
    pub fn string(&mut self) -> Result<String> {
        let length = usize::try_from(self.int16()?.max(0))?;
        let start = self.1;
        self.skip(length)?;
        Ok(String::from_utf8_lossy(self.0.get(start..self.1).unwrap_or_default()).into_owned())
    }

    /// Fails on an error code.
    pub fn check(&mut self, what: &str) -> Result<()> {
        match self.int16()? {
            0 => Ok(()),
            code => bail!("{what} was answered with error {code}"),
        }
    }
}
