//! Ten thousand members in a thousand groups on one broker, each with a connection of its own, heartbeating at
//! the pace that clients keep: what that costs the broker in CPU and memory, under both protocols.

use crate::Plan;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{Api, Body, Connection, tagged_frame};
use anyhow::{Result, bail, ensure};
use std::time::{Duration, Instant};

const MEMBERS_A_GROUP: usize = 10;
const TOPIC: &str = "shared";
/// What clients of either protocol keep by default.
const CLASSIC_INTERVAL: Duration = Duration::from_secs(3);
const CONSUMER_INTERVAL: Duration = Duration::from_secs(5);
/// About what a client's subscription and assignment weigh.
const METADATA: [u8; 60] = [0; 60];
const ASSIGNMENT: [u8; 40] = [0; 40];
/// Time in which every group must have its final assignment, and the pause between heartbeats until then.
const SETTLING: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let (groups, seconds) = if plan.runs == 1 { (100, 6) } else { (1_000, 20) };
    let members = groups * MEMBERS_A_GROUP;
    report
        .heading(&format!("{members} members in {groups} groups, a connection each, heartbeating"));
    let time = Duration::from_secs(seconds);
    let kinds: [(&str, Duration, Join); 2] =
        [("classic", CLASSIC_INTERVAL, classic), ("consumer", CONSUMER_INTERVAL, consumer)];
    for (name, interval, join) in kinds {
        let mut seen = Seen::default();
        for _ in 0..plan.runs {
            live(plan, groups, time, interval, join, &mut seen)?;
        }
        let line = |what: &str| format!("{name}, {what}");
        report.add(&Figure::lower(line("all joined and assigned"), "s", seen.join));
        report.add(&Figure::lower(line("CPU of that a member"), "us", seen.join_cpu));
        let pace = line(&format!("CPU at a heartbeat each {} s", interval.as_secs()));
        report.add(&Figure::lower(pace, "% of one", seen.share));
        report.add(&Figure::lower(line("CPU a heartbeat"), "us", seen.cost));
        report.add(&Figure::lower(line("resident memory"), "MiB", seen.memory));
        report.add(&Figure::lower(line("memory more, a member"), "KiB", seen.memory_each));
    }
    Ok(())
}

/// What the lives of a broker showed.
#[derive(Default)]
struct Seen {
    join: Vec<f64>,
    join_cpu: Vec<f64>,
    share: Vec<f64>,
    cost: Vec<f64>,
    memory: Vec<f64>,
    memory_each: Vec<f64>,
}

/// Brings the members of so many groups to their final assignment.
type Join = fn(&Broker, usize) -> Result<Vec<Member>>;

/// A member with its connection, and the heartbeat that it sends.
struct Member {
    connection: Connection,
    heartbeat: Vec<u8>,
    /// Where the error code stands in the answer.
    code_at: usize,
}

fn live(
    plan: &Plan,
    groups: usize,
    time: Duration,
    interval: Duration,
    join: Join,
    seen: &mut Seen,
) -> Result<()> {
    // Members come within this time, as when a service is deployed; all of them at once, for which the
    // usual queue of connections is too short.
    let settings = ["group.initial.rebalance.delay.ms=2000", "socket.listen.backlog.size=4096"];
    let mut broker = Broker::start_with(&plan.broker, &plan.data_dir, &settings)?;
    let mut connection = Connection::open(broker.address())?;
    connection.create_topic(TOPIC, MEMBERS_A_GROUP as i32)?;
    connection.find_coordinator("group-0")?;
    let empty = broker.resident_mib()?;
    let (began, before) = (Instant::now(), broker.cpu()?);
    let mut members = join(&broker, groups)?;
    let count = members.len() as f64;
    seen.join.push(began.elapsed().as_secs_f64());
    seen.join_cpu.push((broker.cpu()? - before).as_secs_f64() * 1e6 / count);
    let (began, before) = (Instant::now(), broker.cpu()?);
    let beats = heartbeats(&mut members, time, interval)?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (broker.cpu()? - before).as_secs_f64());
    seen.share.push(cpu / wall * 100.0);
    seen.cost.push(cpu * 1e6 / beats as f64);
    let memory = broker.resident_mib()?;
    seen.memory.push(memory);
    seen.memory_each.push((memory - empty) * 1024.0 / count);
    broker.kill()
}

/// Every member heartbeats once an interval, evenly spread; how many were sent.
fn heartbeats(members: &mut [Member], time: Duration, interval: Duration) -> Result<u64> {
    let gap = interval.as_secs_f64() / members.len() as f64;
    let began = Instant::now();
    let (mut sent, mut answered) = (0_u64, 0_u64);
    let count = members.len() as u64;
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() / gap) as u64;
        while sent < due {
            let Some(member) = members.get_mut((sent % count) as usize) else { break };
            member.connection.send(&member.heartbeat)?;
            sent += 1;
        }
        while answered < sent {
            let Some(member) = members.get_mut((answered % count) as usize) else { break };
            member.check()?;
            answered += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(sent)
}

impl Member {
    fn check(&mut self) -> Result<()> {
        let mut answer = self.connection.answer()?;
        answer.skip(self.code_at)?;
        answer.check("a heartbeat")
    }
}

/// A member of a classic group that has joined.
struct Joined {
    group: String,
    id: String,
    generation: i32,
    /// All members, where it leads.
    led: Vec<String>,
}

fn classic(broker: &Broker, groups: usize) -> Result<Vec<Member>> {
    let mut connections = Vec::new();
    for number in 0..groups * MEMBERS_A_GROUP {
        let group = format!("group-{}", number / MEMBERS_A_GROUP);
        let mut connection = Connection::open(broker.address())?;
        let body = Body::default().string(&group).int32(30_000).int32(60_000).string("");
        let body = body.string("consumer").int32(1).string("range").bytes(&METADATA);
        connection.send(&body.frame(Api::JoinGroup, 2))?;
        connections.push((connection, group));
    }
    let mut joined = Vec::new();
    for (mut connection, group) in connections {
        let member = joined_member(&mut connection, group)?;
        joined.push((connection, member));
    }
    for (connection, member) in &mut joined {
        let body = Body::default().string(&member.group).int32(member.generation);
        let mut body = body.string(&member.id).int32(member.led.len() as i32);
        for id in &member.led {
            body = body.string(id).bytes(&ASSIGNMENT);
        }
        connection.send(&body.frame(Api::SyncGroup, 1))?;
    }
    let mut members = Vec::new();
    for (mut connection, member) in joined {
        let mut answer = connection.answer()?;
        answer.skip(4)?;
        answer.check("SyncGroup")?;
        let body = Body::default().string(&member.group).int32(member.generation);
        let heartbeat = body.string(&member.id).frame(Api::Heartbeat, 1);
        members.push(Member { connection, heartbeat, code_at: 4 });
    }
    Ok(members)
}

fn joined_member(connection: &mut Connection, group: String) -> Result<Joined> {
    let mut answer = connection.answer()?;
    answer.skip(4)?;
    answer.check("JoinGroup")?;
    let generation = answer.int32()?;
    answer.string()?;
    answer.string()?;
    let id = answer.string()?;
    let mut led = Vec::new();
    for _ in 0..answer.int32()? {
        led.push(answer.string()?);
        let length = answer.int32()?;
        answer.skip(usize::try_from(length)?)?;
    }
    let all = led.is_empty() || led.len() == MEMBERS_A_GROUP;
    ensure!(all, "{} of {MEMBERS_A_GROUP} members came in time", led.len());
    Ok(Joined { group, id, generation, led })
}

/// A member that the broker assigns.
struct Assigned {
    connection: Connection,
    group: String,
    id: String,
    epoch: i32,
    topic: [u8; 16],
    owned: Vec<i32>,
    /// It has been given something else than it last told.
    tells: bool,
}

fn consumer(broker: &Broker, groups: usize) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for number in 0..groups * MEMBERS_A_GROUP {
        members.push(Assigned {
            connection: Connection::open(broker.address())?,
            group: format!("group-{}", number / MEMBERS_A_GROUP),
            id: format!("member-{number:08}-aaaaaaaaaaaaaaaaaaaaa"),
            epoch: 0,
            topic: [0; 16],
            owned: Vec::new(),
            tells: true,
        });
    }
    let began = Instant::now();
    while began.elapsed() < SETTLING {
        for member in &mut members {
            let frame = member.heartbeat(member.tells);
            member.connection.send(&frame)?;
        }
        for member in &mut members {
            member.hear()?;
        }
        let last = |group: &[Assigned]| group.iter().map(|member| member.epoch).max();
        let is_done = |group: &[Assigned]| {
            let settled = |member: &Assigned| {
                member.owned.len() == 1 && !member.tells && Some(member.epoch) == last(group)
            };
            group.iter().all(settled)
        };
        if members.chunks(MEMBERS_A_GROUP).all(is_done) {
            let ready = |member: Assigned| Member {
                heartbeat: member.heartbeat(false),
                connection: member.connection,
                code_at: 5,
            };
            return Ok(members.into_iter().map(ready).collect());
        }
        std::thread::sleep(PAUSE);
    }
    bail!("not every group was settled after {SETTLING:?}")
}

impl Assigned {
    fn heartbeat(&self, tells: bool) -> Vec<u8> {
        let body = Body::default().compact(&self.group).compact(&self.id).int32(self.epoch);
        let mut body = body.int8(0).int8(0);
        // Subscription and assignor go with the first request alone.
        body = match self.epoch {
            0 => body.int32(60_000).int8(2).compact(TOPIC).int8(0),
            _ => body.int32(-1).int8(0).int8(0),
        };
        body = match (tells, self.owned.is_empty()) {
            (false, _) => body.int8(0),
            (true, true) => body.int8(1),
            (true, false) => {
                let mut body = body.int8(2).plain(&self.topic).int8(self.owned.len() as i8 + 1);
                for partition in &self.owned {
                    body = body.int32(*partition);
                }
                body.int8(0)
            }
        };
        tagged_frame(body, Api::ConsumerGroupHeartbeat, 0)
    }

    fn hear(&mut self) -> Result<()> {
        let mut answer = self.connection.answer()?;
        answer.skip(1 + 4)?;
        answer.check("ConsumerGroupHeartbeat")?;
        // No message, then this member's id.
        answer.skip(1)?;
        let [length] = answer.take()?;
        answer.skip(usize::from(length).saturating_sub(1))?;
        self.epoch = answer.int32()?;
        answer.skip(4)?;
        self.tells = false;
        if answer.take::<1>()? == [0xff] {
            return Ok(());
        }
        let mut owned = Vec::new();
        let [topics] = answer.take()?;
        for _ in 1..topics.max(1) {
            self.topic = answer.take()?;
            let [count] = answer.take()?;
            for _ in 1..count.max(1) {
                owned.push(answer.int32()?);
            }
            answer.skip(1)?;
        }
        self.tells = owned != self.owned;
        self.owned = owned;
        Ok(())
    }
}
