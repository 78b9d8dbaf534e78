// A client of the Xinqiao gateway, written from docs/openapi.json alone. Java 17 or newer, nothing else.
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

    /** Asks, and asks again while the node says when to: under one key it stays one question. */
    Map<String, Object> ask(Map<String, Object> question, String idempotencyKey) throws Exception {
        String once = idempotencyKey == null ? UUID.randomUUID().toString() : idempotencyKey;
        for (int attempt = 0; ; attempt++) {
            try {
                HttpRequest.Builder request = request("/v1/queries").header("Idempotency-Key", once);
                return json(send(post(request, question)));
            } catch (Problem problem) {
                if (problem.status != 503 || problem.retryAfter < 0 || attempt == 3) {
                    throw problem;
                }
                Thread.sleep(problem.retryAfter * 1000);
            }
        }
    }

    Map<String, Object> get(String path) throws Exception {
        return json(send(request(path).GET()));
    }

    byte[] evidence(String id) throws Exception {
        return send(request("/v1/queries/" + id + "/evidence").GET()).body();
    }

    Map<String, Object> addGrant(String base64) throws Exception {
        return json(send(post(request("/v1/grants"), Map.of("grant", base64))));
    }

    /** Every question of this key, page after page. */
    List<Map<String, Object>> queries(int limit) throws Exception {
        List<Map<String, Object>> found = new ArrayList<>();
        Object cursor = null;
        do {
            String more = cursor == null ? "" : "&cursor=" + URLEncoder.encode((String) cursor, StandardCharsets.UTF_8);
            Map<String, Object> page = get("/v1/queries?limit=" + limit + more);
            found.addAll(list(page, "queries"));
            cursor = page.get("next_cursor");
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

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(60))
                .header("Authorization", "Bearer " + key);
    }

    private static HttpRequest.Builder post(HttpRequest.Builder request, Map<String, Object> body) {
        return request.header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(Json.write(body)));
    }

    private HttpResponse<byte[]> send(HttpRequest.Builder request) throws Exception {
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
        Map<String, Map<String, Object>> body = new LinkedHashMap<>();
        Map<String, Map<String, Object>> answer = new LinkedHashMap<>();
        for (String name : List.of("clean", "adverse", "repaired", "disputed", "masked", "grant-revoked")) {
            String text = Files.readString(Path.of(args[2], name + ".json"));
            body.put(name, (Map<String, Object>) new Json(text).read());
            answer.put(name, gateway.ask(body.get(name), "java-" + name));
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
        check(gateway.get("/v1/queries/" + adverse.get("id")).equals(adverse), "it reads otherwise later");
        check(gateway.evidence((String) adverse.get("id")).length > 1000, "the evidence is short");
        try {
            gateway.ask(body.get("clean"), "java-adverse");
            throw new AssertionError("one key was taken for two questions");
        } catch (Problem problem) {
            check(problem.code.equals("question.reused") && problem.status == 422, problem);
        }
        Map<String, Object> grant = gateway.addGrant((String) body.get("clean").get("grant"));
        check(gateway.get("/v1/grants/" + grant.get("id")).equals(grant), grant);
        check(gateway.queries(4).size() >= 6, "questions are missing");
        List<Map<String, Object>> events = list(gateway.get("/v1/events?limit=100"), "events");
        check(events.stream().anyMatch(event -> event.get("type").equals("record.repaired")), events);
        String tag = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        String secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        String id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        check(verifyWebhook(secret, id, "1614265330", tag, "{\"test\": 2432232314}"), "a signature that holds");
        check(!verifyWebhook(secret, id, "1614265331", tag, "{\"test\": 2432232314}"), "a signature that does not");
        System.out.println("java: ok");
    }
}
