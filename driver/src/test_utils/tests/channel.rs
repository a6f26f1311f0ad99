//! The fake channel.

use super::*;

/// The places in the order in which they are done, with whether they went well.
fn exchange(client: &mut Client, count: usize) -> Vec<(usize, bool)> {
    let mut order = Vec::new();
    let mut requests: Vec<_> = (0..count).map(|_| client.request(1, &Getattr { fh: None }, &mut [])).collect();
    client.channel.exchange(&mut requests.drain(..), &mut |place, reply| order.push((place, reply.is_ok())));
    order
}

#[test]
fn requests_of_one_exchange_are_in_flight_together() {
    let mut client = Client::new(server());
    client.channel.set_window(3);
    assert_eq!(exchange(&mut client, 5), [(0, true), (1, true), (2, true), (3, true), (4, true)]);
    assert_eq!(client.channel.most_in_flight(), 3);
    client.channel.set_completion(Completion::Reversed);
    assert_eq!(exchange(&mut client, 5), [(2, true), (1, true), (0, true), (4, true), (3, true)]);
    assert_eq!(exchange(&mut client, 0), []);
}

#[test]
fn a_device_that_fails_answers_what_it_has_and_is_asked_for_no_more() {
    let mut client = Client::new(server());
    client.channel.set_window(2);
    client.channel.fail_after(3);
    let order = exchange(&mut client, 9);
    assert_eq!(order.iter().filter(|&&(_, is_ok)| is_ok).count(), 2, "{order:?}");
    assert!(order.contains(&(3, false)));
    assert!(order.iter().all(|&(place, _)| place <= 3), "{order:?}");
    assert!(client.channel.is_reset());
    assert_eq!(exchange(&mut client, 2), [(0, false)]);
    assert_eq!(client.channel.server().lock().count(opcode::GETATTR), 3);
}

#[test]
fn a_channel_that_was_shut_down_carries_nothing() {
    let mut client = Client::new(server());
    client.channel.shut_down();
    assert_eq!(client.lookup(1, "d"), Err(Error::Device("the device was reset")));
    let header = InHeader::new(Forget::OPCODE, NodeId(2), Unique(90));
    let forget = Request::new(header, &Forget { nlookup: 1 }, &[], &mut []);
    assert_eq!(client.channel.post(&forget), Err(Error::Device("the device was reset")));
}

#[test]
fn a_late_reply_is_overtaken_and_tells_what_was_when_it_was_asked_for() {
    let mut client = Client::new(server());
    let channel = client.channel.clone();
    channel.server().lock().fault(opcode::GETATTR, 0, Fault::Late);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| client.call(1, &Getattr { fh: None }, 0).unwrap().0.attr.permissions);
        while channel.server().lock().replies_on_their_way() == 0 {
            std::thread::yield_now();
        }
        channel.server().lock().attr_mut("").permissions = 0o700;
        let mut other = Client { channel: channel.clone(), unique: 1000 };
        assert_eq!(other.call(1, &Getattr { fh: None }, 0).unwrap().0.attr.permissions, 0o700);
        channel.server().lock().let_late_replies_go();
        assert_eq!(asks.join().unwrap(), 0o755);
    });
    assert_eq!(channel.server().lock().replies_on_their_way(), 0);
    assert!(client.violations().is_empty());
}

#[test]
fn a_request_on_the_wrong_queue_is_a_violation() {
    let mut client = Client::new(server());
    client.post(1, &Getattr { fh: None }, &[]);
    let d = client.lookup(1, "d").unwrap();
    assert!(client.call(d, &Forget { nlookup: 1 }, 0).is_err());
    let violations = client.violations();
    assert!(violations.contains(&"GETATTR was sent on the high-priority queue".to_string()), "{violations:?}");
    assert!(violations.contains(&"FORGET was sent on a request queue".to_string()), "{violations:?}");
}

#[test]
fn the_session_of_the_driver_breaks_no_rule_whether_destroy_has_a_reply_or_not() {
    [false, true].into_iter().for_each(session_breaks_no_rule);
}

fn session_breaks_no_rule(destroy_replies: bool) {
    let channel = FakeChannel::new(server());
    let server = channel.server();
    server.lock().options.destroy_replies = destroy_replies;
    let session = Session::open(Box::new(channel)).unwrap();
    assert_eq!(session.negotiated().minor, 38);
    assert_eq!(session.negotiated().max_transfer_bytes, 1 << 20);
    let lookup = Lookup { name: Name::new(b"d").unwrap() };
    let Ok(LookedUp::Found(d)) = session.call(&Credentials::DRIVER, NodeId::ROOT, &lookup) else { panic!("no d") };
    session.forget(d.nodeid, 1);
    session.end().unwrap();
    drop(session);
    let server = server.lock();
    assert_eq!(server.opcodes(), [opcode::INIT, opcode::LOOKUP, opcode::FORGET, opcode::DESTROY]);
    assert_eq!(server.known_nodes(), 0);
    assert!(server.violations().is_empty(), "{:?}", server.violations());
}
