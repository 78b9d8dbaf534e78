// A client of the Xinqiao gateway, made from docs/openapi.json alone. Java 17 or newer, nothing else.
//
//   java Gateway.java BASE KEY REQUESTS     exercises a sandbox; REQUESTS is its directory of request bodies
//
// A bank may copy this file; in a larger program its own JSON library takes the place of Json.

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Gateway {
    /** An RFC 9457 problem. Decide by code; retryAfter is in seconds, or -1. */
    static final class Problem extends Exception {
        final String code;
        final int status;
        final long retryAfter;

        Problem(Map<String, Object> document, long retryAfter) {
            super(document.get("code") + ": " + document.get("detail"));
            this.code = (String) document.get("code");
            this.status = ((Number) document.get("status")).intValue();
            this.retryAfter = retryAfter;
        }
    }

    private final HttpClient http = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build();
    private final String base;
    private final String key;

    Gateway(String base, String key) {
        this.base = base;
        this.key = key;
    }

    // Between this line and the next of its kind: what follows is written by `cargo xtask clients --write` from docs/openapi.json.
    /**
     * This document: GET /openapi.json
     * Gives an object.
     */
    Map<String, Object> document() throws Exception {
        return json(call("GET", "/openapi.json", given(), given(), null));
    }

    /**
     * What can be asked about: GET /v1/catalog
     * Gives Catalog: catalog, items, policy, purposes, rules, version.
     */
    Map<String, Object> catalog() throws Exception {
        return json(call("GET", "/v1/catalog", given(), given(), null));
    }

    /**
     * Repairs, marks and changes of grants that this member was told of: GET /v1/events
     * after (not needed): Events with a higher number.
     * limit (not needed): Events on the page.
     * wait (not needed): Seconds to wait for an event when there is none.
     * lastEventId (not needed): Of a stream that comes back; stands before `after`. What is no number is 400.
     * Gives EventPage: events, more, next.
     */
    Map<String, Object> events(Long after, Long limit, Long wait, Long lastEventId) throws Exception {
        return json(call("GET", "/v1/events", given("after", after, "limit", limit, "wait", wait), given("Last-Event-ID", lastEventId), null));
    }

    /**
     * Hand in a grant: POST /v1/grants
     * grant (needed): The file of `xinqiao grant issue` in base64.
     * Gives Grant: collector, id, keep_days, key_id, letter_sha256, not_after, not_before, period, purposes,
     * scope, status, status_zh, subject, uses_max.
     */
    Map<String, Object> addGrant(Map<String, Object> body) throws Exception {
        return json(call("POST", "/v1/grants", given(), given(), body));
    }

    /**
     * A grant handed in before: GET /v1/grants/{id}
     * id (needed): Digest of the signed grant.
     * Gives Grant: collector, id, keep_days, key_id, letter_sha256, not_after, not_before, period, purposes,
     * scope, status, status_zh, subject, uses_max.
     */
    Map<String, Object> getGrant(String id) throws Exception {
        return json(call("GET", "/v1/grants/" + encoded(id), given(), given(), null));
    }

    /**
     * Whether the node answers questions: GET /v1/health
     * Gives Health: member, status, version.
     */
    Map<String, Object> health() throws Exception {
        return json(call("GET", "/v1/health", given(), given(), null));
    }

    /**
     * Questions asked with this key: GET /v1/queries
     * limit (not needed): Rows on the page.
     * cursor (not needed): `next_cursor` of the page before.
     * Gives QueryPage: next_cursor, queries.
     */
    Map<String, Object> listQueries(Long limit, String cursor) throws Exception {
        return json(call("GET", "/v1/queries", given("limit", limit, "cursor", cursor), given(), null));
    }

    /**
     * Ask about a subject through the outlet: POST /v1/queries
     * clerk (needed): The person who asks. The key's prefix is put before it; both together have at most 64
     * characters, and stand in the access logs of every member. No control characters, none that nobody sees
     * or that is unassigned or of private use, no blanks but U+0020 and U+3000, and none at either end. What
     * begins as another key's prefix does is 403 `key.not-allowed`.
     * purpose (needed): For what.
     * checks (not needed): What is to be checked and not told: ITEM:FIELD=VALUE, ITEM:FIELD>=VALUE,
     * ITEM:FIELD<=VALUE, ITEM:FIELD=LOW..HIGH, ITEM:none-since=YYYY-MM-DD, ITEM:paid=N@YYYY-MM. What can be
     * checked of a field `xinqiao catalog ITEM` shows. Each different one counts against a budget per subject
     * and field; one that is repeated counts once. More than 16, repeated ones too: 422 `question.malformed`.
     * deadline_ms (not needed): Time for the members to answer, in milliseconds. What has not come by then is
     * `unreachable`. `10000.0` and `1e4` are the integer 10000.
     * grant (not needed): The subject's grant in base64: the file of `xinqiao grant issue`.
     * grant_id (not needed): Instead of `grant`: the id of one handed in before.
     * items (not needed): Items and fields, each item once, at most 64 fields in all; otherwise 422
     * `question.malformed`. Default: what the grant names, where nothing is to be checked.
     * subject (not needed): Unified social credit code or resident number. Default: whom the grant names.
     * Idempotency-Key (not needed): 1 to 128 visible ASCII characters. A retry with the same key and content
     * is the same question: no second access entry anywhere and no second use of a grant. A complete answer
     * is given again; an incomplete one is asked for again, and what members have decided is added to it, for
     * a day after the deadline from those that had decided by then. With other content: 422
     * `question.reused`.
     * Gives Query: asked_at, clerk, complete, deadline, id, keep_until, members, purpose, question, records,
     * subject.
     */
    Map<String, Object> ask(Map<String, Object> body, String idempotencyKey) throws Exception {
        return json(call("POST", "/v1/queries", given(), given("Idempotency-Key", idempotencyKey), body));
    }

    /**
     * A question asked with this key, as it stands now: GET /v1/queries/{id}
     * id (needed): The question's id.
     * Gives Query: asked_at, clerk, complete, deadline, id, keep_until, members, purpose, question, records,
     * subject.
     */
    Map<String, Object> getQuery(String id) throws Exception {
        return json(call("GET", "/v1/queries/" + encoded(id), given(), given(), null));
    }

    /**
     * The sealed answer as a file for `xinqiao verify`: GET /v1/queries/{id}/evidence
     * id (needed): The question's id.
     * Gives a file.
     */
    byte[] evidence(String id) throws Exception {
        return call("GET", "/v1/queries/" + encoded(id) + "/evidence", given(), given(), null).body();
    }

    // End of what is written by `cargo xtask clients`.

    /** Asks, and asks again while the node says when to: under one key it stays one question. */
    Map<String, Object> askSurely(Map<String, Object> question, String idempotencyKey) throws Exception {
        String once = idempotencyKey == null ? UUID.randomUUID().toString() : idempotencyKey;
        for (int attempt = 0; ; attempt++) {
            try {
                return ask(question, once);
            } catch (Problem problem) {
                boolean later = problem.status == 429 || problem.status == 503;
                if (!later || problem.retryAfter < 0 || attempt == 3) {
                    throw problem;
                }
                Thread.sleep(problem.retryAfter * 1000);
            }
        }
    }

    /** Every question of this key, page after page. */
    List<Map<String, Object>> allQueries(long limit) throws Exception {
        List<Map<String, Object>> found = new ArrayList<>();
        String cursor = null;
        do {
            Map<String, Object> page = listQueries(limit, cursor);
            found.addAll(list(page, "queries"));
            cursor = (String) page.get("next_cursor");
        } while (cursor != null);
        return found;
    }

    /** Whether a webhook call is this node's (Standard Webhooks); the caller also refuses an old timestamp. */
    static boolean verifyWebhook(String secret, String id, String timestamp, String signatures, String body) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.substring("whsec_".length())), "HmacSHA256"));
        byte[] tag = mac.doFinal((id + "." + timestamp + "." + body).getBytes(StandardCharsets.UTF_8));
        byte[] wanted = ("v1," + Base64.getEncoder().encodeToString(tag)).getBytes(StandardCharsets.UTF_8);
        for (String one : signatures.split(" ")) {
            if (MessageDigest.isEqual(wanted, one.getBytes(StandardCharsets.UTF_8))) {
                return true;
            }
        }
        return false;
    }

    /** Names and values, without those that are not given. */
    private static Map<String, Object> given(Object... pairs) {
        Map<String, Object> found = new LinkedHashMap<>();
        for (int at = 0; at < pairs.length; at += 2) {
            if (pairs[at + 1] != null) {
                found.put((String) pairs[at], pairs[at + 1]);
            }
        }
        return found;
    }

    private static String encoded(Object text) {
        return URLEncoder.encode(String.valueOf(text), StandardCharsets.UTF_8);
    }

    private HttpResponse<byte[]> call(String method, String path, Map<String, Object> query,
            Map<String, Object> headers, Map<String, Object> body) throws Exception {
        List<String> words = new ArrayList<>();
        query.forEach((name, value) -> words.add(encoded(name) + "=" + encoded(value)));
        String address = base + path + (words.isEmpty() ? "" : "?" + String.join("&", words));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(address)).timeout(Duration.ofSeconds(60))
                .header("Authorization", "Bearer " + key);
        headers.forEach((name, value) -> request.header(name, String.valueOf(value)));
        if (body == null) {
            request.method(method, HttpRequest.BodyPublishers.noBody());
        } else {
            request.header("Content-Type", "application/json");
            request.method(method, HttpRequest.BodyPublishers.ofString(Json.write(body)));
        }
        HttpResponse<byte[]> response = http.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        if (response.statusCode() >= 400) {
            throw new Problem(json(response), response.headers().firstValueAsLong("Retry-After").orElse(-1));
        }
        return response;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> json(HttpResponse<byte[]> response) throws IOException {
        return (Map<String, Object>) new Json(new String(response.body(), StandardCharsets.UTF_8)).read();
    }

    @SuppressWarnings("unchecked")
    static List<Map<String, Object>> list(Map<String, Object> object, String name) {
        return (List<Map<String, Object>>) object.get(name);
    }

    /** JSON as maps, lists, strings, numbers (Long or Double), booleans and null. */
    static final class Json {
        private final String text;
        private int at;

        Json(String text) {
            this.text = text;
        }

        Object read() throws IOException {
            Object value = value();
            blank();
            if (at != text.length()) {
                throw new IOException("more after the end at " + at);
            }
            return value;
        }

        private Object value() throws IOException {
            blank();
            char c = peek();
            if (c == '{') {
                Map<String, Object> object = new LinkedHashMap<>();
                for (at++; !end('}'); ) {
                    blank();
                    String name = string();
                    blank();
                    expect(':');
                    object.put(name, value());
                }
                return object;
            }
            if (c == '[') {
                List<Object> array = new ArrayList<>();
                for (at++; !end(']'); ) {
                    array.add(value());
                }
                return array;
            }
            if (c == '"') {
                return string();
            }
            int from = at;
            while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            String word = text.substring(from, at);
            switch (word) {
                case "true": return true;
                case "false": return false;
                case "null": return null;
                default:
                    if (word.matches("-?[0-9]+")) {
                        return Long.parseLong(word);
                    }
                    return Double.parseDouble(word);
            }
        }

        private boolean end(char close) throws IOException {
            blank();
            if (peek() == close) {
                at++;
                return true;
            }
            if (peek() == ',') {
                at++;
            }
            return false;
        }

        private String string() throws IOException {
            expect('"');
            StringBuilder out = new StringBuilder();
            while (peek() != '"') {
                char c = text.charAt(at++);
                if (c != '\\') {
                    out.append(c);
                    continue;
                }
                char escaped = peek();
                at++;
                switch (escaped) {
                    case 'n': out.append('\n'); break;
                    case 't': out.append('\t'); break;
                    case 'r': out.append('\r'); break;
                    case 'b': out.append('\b'); break;
                    case 'f': out.append('\f'); break;
                    case 'u':
                        out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                        at += 4;
                        break;
                    default: out.append(escaped);
                }
            }
            at++;
            return out.toString();
        }

        private void blank() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
                at++;
            }
        }

        private char peek() throws IOException {
            if (at >= text.length()) {
                throw new IOException("ends too early");
            }
            return text.charAt(at);
        }

        private void expect(char c) throws IOException {
            if (peek() != c) {
                throw new IOException("`" + c + "` expected at " + at);
            }
            at++;
        }

        static String write(Object value) {
            if (value instanceof Map<?, ?> map) {
                List<String> parts = new ArrayList<>();
                map.forEach((name, one) -> parts.add(write(name) + ":" + write(one)));
                return "{" + String.join(",", parts) + "}";
            }
            if (value instanceof List<?> list) {
                List<String> parts = new ArrayList<>();
                list.forEach(one -> parts.add(write(one)));
                return "[" + String.join(",", parts) + "]";
            }
            if (!(value instanceof String string)) {
                return String.valueOf(value);
            }
            StringBuilder out = new StringBuilder("\"");
            for (char c : string.toCharArray()) {
                if (c == '"' || c == '\\') {
                    out.append('\\').append(c);
                } else if (c < ' ') {
                    out.append(String.format("\\u%04x", (int) c));
                } else {
                    out.append(c);
                }
            }
            return out.append('"').toString();
        }
    }

    private static void check(boolean holds, Object about) {
        if (!holds) {
            throw new AssertionError(about);
        }
    }

    private static List<Map<String, Object>> penalties(Map<String, Object> answer) {
        return list(answer, "records").stream().filter(record -> record.get("item").equals("CF")).toList();
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] args) throws Exception {
        Gateway gateway = new Gateway(args[0], args[1]);
        check(gateway.health().get("status").equals("ready"), "the node is not ready");
        Map<String, Map<String, Object>> body = new LinkedHashMap<>();
        Map<String, Map<String, Object>> answer = new LinkedHashMap<>();
        for (String name : List.of("clean", "adverse", "repaired", "disputed", "masked", "grant-revoked")) {
            String text = Files.readString(Path.of(args[2], name + ".json"));
            body.put(name, (Map<String, Object>) new Json(text).read());
            answer.put(name, gateway.askSurely(body.get(name), "java-" + name));
            check(answer.get(name).get("complete").equals(true), answer.get(name));
        }
        check(penalties(answer.get("clean")).isEmpty(), answer.get("clean"));
        check(penalties(answer.get("repaired")).isEmpty(), answer.get("repaired"));
        check(penalties(answer.get("masked")).isEmpty(), answer.get("masked"));
        check(penalties(answer.get("adverse")).get(0).get("standing").equals("active"), answer.get("adverse"));
        check(penalties(answer.get("disputed")).get(0).get("disputed").equals(true), answer.get("disputed"));
        for (Map<String, Object> member : list(answer.get("grant-revoked"), "members")) {
            check(member.get("outcome").equals("denied"), member);
            check(list(member, "withheld").get(0).get("rule").equals("grant-revoked"), member);
        }
        Map<String, Object> adverse = answer.get("adverse");
        check(gateway.ask(body.get("adverse"), "java-adverse").equals(adverse), "a retry gets another answer");
        check(gateway.getQuery((String) adverse.get("id")).equals(adverse), "it reads otherwise later");
        check(gateway.evidence((String) adverse.get("id")).length > 1000, "the evidence is short");
        try {
            gateway.ask(body.get("clean"), "java-adverse");
            throw new AssertionError("one key was taken for two questions");
        } catch (Problem problem) {
            check(problem.code.equals("question.reused") && problem.status == 422, problem);
        }
        Map<String, Object> grant = gateway.addGrant(Map.of("grant", body.get("clean").get("grant")));
        check(gateway.getGrant((String) grant.get("id")).equals(grant), grant);
        check(gateway.allQueries(4).size() >= 6, "questions are missing");
        List<Map<String, Object>> events = list(gateway.events(0L, 100L, null, null), "events");
        check(events.stream().anyMatch(event -> event.get("type").equals("record.repaired")), events);
        String tag = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        String secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        String id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        check(verifyWebhook(secret, id, "1614265330", tag, "{\"test\": 2432232314}"), "a signature that holds");
        check(!verifyWebhook(secret, id, "1614265331", tag, "{\"test\": 2432232314}"), "a signature that does not");
        System.out.println("java: ok");
    }
}
