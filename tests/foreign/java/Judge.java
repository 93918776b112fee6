// A judge of the Cosmos endpoint and of docferry that shares no line with either: the official client for Java, in gateway mode. Its bulk is what
// the Spark connector writes with.
//
//   java -cp 'LIBRARIES/*' Judge.java exercise DATABASE                 a container's whole life in DATABASE, which is dropped at the end (local endpoint only)
//   java -cp 'LIBRARIES/*' Judge.java write DATABASE CONTAINER FILE     writes FILE's documents, a line each, through every door that the client has
//   java -cp 'LIBRARIES/*' Judge.java find DATABASE CONTAINER FILE...   the container holds the documents of these files and no others
//
// Several of these are separated by the word "then". COSMOS_ENDPOINT and COSMOS_KEY say where. The partition key of every container is /pk. What must
// not be ends with exit code 1 and a sentence.

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosBatch;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.ThroughputProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

public final class Judge {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> SYSTEM = List.of("_rid", "_self", "_etag", "_attachments", "_ts");
    private static final String QUERY = "SELECT * FROM c";

    // The longest batch that the service takes.
    private static final int MOST_OPERATIONS = 100;

    private final CosmosClient client;

    private Judge(CosmosClient client) {
        this.client = client;
    }

    public static void main(String[] words) throws IOException {
        // The local endpoint speaks HTTP without TLS, which the client refuses unless it is told otherwise.
        System.setProperty("COSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED", "true");
        CosmosClientBuilder builder = new CosmosClientBuilder()
            .endpoint(System.getenv("COSMOS_ENDPOINT"))
            .key(System.getenv("COSMOS_KEY"))
            .gatewayMode();
        try (CosmosClient client = builder.buildClient()) {
            Judge judge = new Judge(client);
            for (String one : String.join(" ", words).split(" then ")) judge.obey(one.split(" "));
        }
    }

    private void obey(String[] words) throws IOException {
        switch (words[0]) {
            case "exercise" -> exercise(words[1]);
            case "write" -> write(words[1], words[2], Path.of(words[3]));
            case "find" -> find(words[1], words[2], Arrays.copyOfRange(words, 3, words.length));
            default -> throw new IllegalArgumentException("exercise, write or find, not " + words[0]);
        }
    }

    // --- documents and their keys ---

    private static List<ObjectNode> documents(Path file) throws IOException {
        List<ObjectNode> documents = new ArrayList<>();
        for (String line : Files.readAllLines(file)) documents.add((ObjectNode) JSON.readTree(line));
        return documents;
    }

    /** What was written, of what was read. */
    private static ObjectNode bare(ObjectNode document) {
        for (String name : SYSTEM) must(document.has(name), name + " is missing in " + document.get("id"));
        return document.deepCopy().remove(SYSTEM);
    }

    private static String id(ObjectNode document) {
        return document.get("id").textValue();
    }

    /** The value that addresses a document's logical partition; a document without the field has one, too. */
    private static PartitionKey keyOf(ObjectNode document) {
        JsonNode key = document.get("pk");
        if (key == null) return PartitionKey.NONE;
        if (key.isTextual()) return new PartitionKey(key.textValue());
        if (key.isNumber()) return new PartitionKey(key.doubleValue());
        if (key.isBoolean()) return new PartitionKey(key.booleanValue());
        return new PartitionKey(null);
    }

    private static Collection<List<ObjectNode>> byKey(Collection<ObjectNode> documents) {
        Function<ObjectNode, String> key = document -> document.path("pk").toString();
        return documents.stream().collect(Collectors.groupingBy(key, LinkedHashMap::new, Collectors.toList())).values();
    }

    private static <T> List<List<T>> chunks(List<T> all) {
        return IntStream.iterate(0, at -> at < all.size(), at -> at + MOST_OPERATIONS)
            .mapToObj(at -> all.subList(at, Math.min(at + MOST_OPERATIONS, all.size())))
            .toList();
    }

    /** Numbers are doubles: 1 and 1.0 are the same. */
    private static boolean areSame(JsonNode one, JsonNode other) {
        return one.equals(
            (a, b) -> a.isNumber() && b.isNumber() ? Double.compare(a.doubleValue(), b.doubleValue()) : a.equals(b) ? 0 : 1,
            other);
    }

    // --- what must be ---

    private static void must(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }

    private static void same(Object wanted, Object found, String what) {
        must(Objects.equals(wanted, found), what + ": " + found + " instead of " + wanted);
    }

    private static void same(ObjectNode wanted, ObjectNode found, String what) {
        must(areSame(wanted, found), what + ": " + found + " instead of " + wanted);
    }

    private static void fails(int status, Runnable action) {
        try {
            action.run();
        } catch (CosmosException failure) {
            same(status, failure.getStatusCode(), String.valueOf(failure.getShortMessage()));
            return;
        }
        throw new AssertionError(status + " did not come");
    }

    private static CosmosItemRequestOptions givingBack() {
        return new CosmosItemRequestOptions().setContentResponseOnWriteEnabled(true);
    }

    // --- write: documents take turns at four doors ---

    private void write(String database, String name, Path file) throws IOException {
        client.createDatabaseIfNotExists(database);
        client.getDatabase(database).createContainerIfNotExists(name, "/pk");
        CosmosContainer target = client.getDatabase(database).getContainer(name);
        List<ObjectNode> all = documents(file);
        List<List<ObjectNode>> turns = List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
        // The client's bulk refuses documents that have no partition key.
        for (int at = 0; at < all.size(); at++) turns.get(all.get(at).has("pk") ? at % turns.size() : 0).add(all.get(at));
        byCreating(target, turns.get(0));
        byUpserting(target, turns.get(1));
        byTransactions(target, turns.get(2));
        byBulk(target, turns.get(3));
    }

    private static void byCreating(CosmosContainer target, List<ObjectNode> all) {
        for (ObjectNode document : all) {
            var made = target.createItem(document, keyOf(document), givingBack());
            same(201, made.getStatusCode(), id(document));
            same(document, bare(made.getItem()), id(document));
            must(made.getRequestCharge() > 0, "a create is charged");
        }
    }

    private static void byUpserting(CosmosContainer target, List<ObjectNode> all) {
        for (ObjectNode document : all) {
            ObjectNode passing = document.deepCopy().put("passing", true);
            var first = target.upsertItem(passing);
            var second = target.upsertItem(document);
            same(List.of(201, 200), List.of(first.getStatusCode(), second.getStatusCode()), id(document));
            must(second.getItem() == null, "no content was asked for");
            must(!first.getETag().equals(second.getETag()), "a write changes the ETag");
        }
    }

    private static void byTransactions(CosmosContainer target, List<ObjectNode> all) {
        for (List<ObjectNode> alike : byKey(all)) {
            for (List<ObjectNode> some : chunks(alike)) {
                CosmosBatch batch = CosmosBatch.createCosmosBatch(keyOf(some.get(0)));
                some.forEach(batch::createItemOperation);
                var done = target.executeCosmosBatch(batch);
                must(done.isSuccessStatusCode(), "a batch: " + done.getStatusCode() + " " + done.getErrorMessage());
                same(some.size(), done.size(), "results of a batch");
                done.getResults().forEach(result -> same(201, result.getStatusCode(), "an operation of a batch"));
            }
        }
    }

    private static void byBulk(CosmosContainer target, List<ObjectNode> all) {
        List<CosmosItemOperation> operations =
            all.stream().map(document -> CosmosBulkOperations.getUpsertItemOperation(document, keyOf(document))).toList();
        same(Map.of(201, all.size()), statuses(target, operations), "bulk");
    }

    /** How often each status came. */
    private static Map<Integer, Integer> statuses(CosmosContainer target, List<CosmosItemOperation> operations) {
        Map<Integer, Integer> statuses = new HashMap<>();
        target.executeBulkOperations(operations).forEach(done -> {
            if (done.getException() != null) throw new AssertionError(done.getException());
            statuses.merge(done.getResponse().getStatusCode(), 1, Integer::sum);
        });
        return statuses;
    }

    // --- find: by query, by range, by key and one by one ---

    private void find(String database, String name, String[] files) throws IOException {
        CosmosContainer source = client.getDatabase(database).getContainer(name);
        Map<String, ObjectNode> wanted = new LinkedHashMap<>();
        for (String file : files) documents(Path.of(file)).forEach(document -> wanted.put(id(document), document));
        sees("the query", source, new CosmosQueryRequestOptions(), 97, wanted);
        sees("the query with big pages", source, new CosmosQueryRequestOptions(), 10_000, wanted);
        long counted = source.queryItems("SELECT VALUE COUNT(1) FROM c", new CosmosQueryRequestOptions(), Long.class)
            .stream().mapToLong(Long::longValue).sum();
        same((long) wanted.size(), counted, "the count");
        seesByRange(source, wanted);
        for (List<ObjectNode> alike : byKey(wanted.values())) {
            // The client takes a query of documents without a key for one of the whole container.
            if (!alike.get(0).has("pk")) continue;
            Map<String, ObjectNode> few = new HashMap<>();
            alike.forEach(document -> few.put(id(document), document));
            sees("the query of a key", source, new CosmosQueryRequestOptions().setPartitionKey(keyOf(alike.get(0))), 7, few);
        }
        int at = 0;
        for (ObjectNode document : wanted.values()) {
            if (at++ % 10 != 0) continue;
            var read = source.readItem(id(document), keyOf(document), ObjectNode.class);
            same(document, bare(read.getItem()), "a read");
        }
    }

    /** Ranges together hold each document once. */
    private static void seesByRange(CosmosContainer source, Map<String, ObjectNode> wanted) {
        Map<String, ObjectNode> found = new HashMap<>();
        for (FeedRange range : source.getFeedRanges()) {
            collect("the query of a range", source, new CosmosQueryRequestOptions().setFeedRange(range), 100, found);
        }
        compare("the queries of all ranges", wanted, found);
    }

    private static void sees(
        String what, CosmosContainer source, CosmosQueryRequestOptions options, int page, Map<String, ObjectNode> wanted) {
        Map<String, ObjectNode> found = new HashMap<>();
        collect(what, source, options, page, found);
        compare(what, wanted, found);
    }

    /** Every page is asked for by a new query, which knows nothing but the continuation. */
    private static void collect(
        String what, CosmosContainer source, CosmosQueryRequestOptions options, int most, Map<String, ObjectNode> found) {
        String continuation = null;
        do {
            Iterable<FeedResponse<ObjectNode>> pages =
                source.queryItems(QUERY, options, ObjectNode.class).iterableByPage(continuation, most);
            FeedResponse<ObjectNode> page = pages.iterator().next();
            must(page.getResults().size() <= most, what + ": a page of " + page.getResults().size());
            for (ObjectNode document : page.getResults()) {
                must(found.put(id(document), bare(document)) == null, what + " gave " + id(document) + " twice");
            }
            continuation = page.getContinuationToken();
        } while (continuation != null);
    }

    private static void compare(String what, Map<String, ObjectNode> wanted, Map<String, ObjectNode> found) {
        same(wanted.size(), found.size(), what + ": documents");
        wanted.forEach((id, document) -> {
            must(found.containsKey(id), what + ": " + id + " is missing");
            same(document, found.get(id), what);
        });
    }

    // --- exercise: what a container's life brings ---

    private void exercise(String name) throws IOException {
        same(201, client.createDatabase(name).getStatusCode(), "creating a database");
        fails(409, () -> client.createDatabase(name));
        CosmosDatabase database = client.getDatabase(name);
        fails(404, () -> database.getContainer("none").read());
        var properties = new CosmosContainerProperties("life", "/pk");
        var made = database.createContainer(properties, ThroughputProperties.createManualThroughput(4000));
        same(201, made.getStatusCode(), "creating a container");
        CosmosContainer life = database.getContainer("life");
        same(List.of("/pk"), life.read().getProperties().getPartitionKeyDefinition().getPaths(), "the partition key");
        same(4000, life.readThroughput().getProperties().getManualThroughput(), "the throughput");
        life.replaceThroughput(ThroughputProperties.createManualThroughput(5000));
        same(5000, life.readThroughput().getProperties().getManualThroughput(), "the throughput");
        same(List.of("life"), database.readAllContainers().stream().map(CosmosContainerProperties::getId).toList(), "the containers");
        pointOperations(life);
        transactions(life);
        bulkFailures(life);
        splits(name, life);
        life.delete();
        fails(404, life::read);
        database.delete();
    }

    private static ObjectNode document(String id, String key) {
        return JSON.createObjectNode().put("id", id).put("pk", key);
    }

    private static void pointOperations(CosmosContainer life) {
        PartitionKey key = new PartitionKey("a");
        ObjectNode born = document("one", "a").put("number", 1.5);
        life.createItem(born);
        fails(409, () -> life.createItem(born));
        var read = life.readItem("one", key, ObjectNode.class);
        same(born, bare(read.getItem()), "a read");
        var condition = givingBack().setIfMatchETag(read.getETag());
        var replaced = life.replaceItem(born.deepCopy().put("number", 2), "one", key, condition);
        same(2, replaced.getItem().get("number").intValue(), "a replaced number");
        fails(412, () -> life.replaceItem(born, "one", key, condition));
        fails(404, () -> life.readItem("one", new PartitionKey("other key"), ObjectNode.class));
        fails(404, () -> life.replaceItem(document("none", "a"), "none", key, null));
        same(204, life.deleteItem("one", key, null).getStatusCode(), "a delete");
        fails(404, () -> life.deleteItem("one", key, null));
    }

    /** A batch in which one operation fails leaves nothing. */
    private static void transactions(CosmosContainer life) {
        PartitionKey key = new PartitionKey("b");
        life.createItem(document("there", "b"));
        CosmosBatch broken = CosmosBatch.createCosmosBatch(key);
        for (String id : List.of("new", "there", "newer")) broken.createItemOperation(document(id, "b"));
        same(List.of(424, 409, 424), statuses(life, broken), "a broken batch");
        fails(404, () -> life.readItem("new", key, ObjectNode.class));
        CosmosBatch whole = CosmosBatch.createCosmosBatch(key);
        whole.createItemOperation(document("new", "b"));
        whole.readItemOperation("new");
        whole.replaceItemOperation("new", document("new", "b").put("replaced", true));
        whole.upsertItemOperation(document("newer", "b"));
        whole.deleteItemOperation("there");
        same(List.of(201, 200, 200, 201, 204), statuses(life, whole), "a whole batch");
        must(life.readItem("new", key, ObjectNode.class).getItem().get("replaced").booleanValue(), "the batch replaced");
    }

    private static List<Integer> statuses(CosmosContainer life, CosmosBatch batch) {
        return life.executeCosmosBatch(batch).getResults().stream().map(result -> result.getStatusCode()).toList();
    }

    /** In bulk each operation stands for itself. */
    private static void bulkFailures(CosmosContainer life) {
        List<ObjectNode> all = IntStream.range(0, 250)
            .mapToObj(number -> document("n-" + number, "k" + number % 9).put("number", number)).toList();
        life.createItem(all.get(7));
        List<CosmosItemOperation> create =
            all.stream().map(each -> CosmosBulkOperations.getCreateItemOperation(each, keyOf(each))).toList();
        same(Map.of(201, 249, 409, 1), statuses(life, create), "creating in bulk");
        List<CosmosItemOperation> remove =
            all.stream().map(each -> CosmosBulkOperations.getDeleteItemOperation(id(each), keyOf(each))).toList();
        same(Map.of(204, 250), statuses(life, remove), "deleting in bulk");
    }

    /** A range is split behind the client's back, which has it in its cache: nothing may be lost. */
    private static void splits(String name, CosmosContainer life) throws IOException {
        List<ObjectNode> all =
            IntStream.range(0, 300).mapToObj(number -> document("s-" + number, "k" + number).put("number", number)).toList();
        for (int again = 0; again < 2; again++) {
            int wanted = again;
            List<CosmosItemOperation> some = all.stream().filter(each -> each.get("number").intValue() % 2 == wanted)
                .map(each -> CosmosBulkOperations.getCreateItemOperation(each, keyOf(each))).toList();
            same(Map.of(201, 150), statuses(life, some), "creating in bulk around a split");
            if (again == 0) split(name);
        }
        var found = life.queryItems("SELECT c.id FROM c", new CosmosQueryRequestOptions(), ObjectNode.class);
        List<String> ids = found.stream().map(Judge::id).toList();
        for (ObjectNode each : all) must(ids.contains(id(each)), id(each) + " is missing after a split");
    }

    private static void split(String name) throws IOException {
        var order = HttpRequest.newBuilder(URI.create(System.getenv("COSMOS_ENDPOINT") + "_split"))
            .POST(HttpRequest.BodyPublishers.ofString(JSON.createObjectNode().put("container", name + "/life").put("range", "0").toString()))
            .build();
        try {
            var answer = HttpClient.newHttpClient().send(order, HttpResponse.BodyHandlers.ofString());
            must(answer.statusCode() < 300, "splitting: " + answer.body());
        } catch (InterruptedException interrupted) {
            throw new IOException(interrupted);
        }
    }
}
