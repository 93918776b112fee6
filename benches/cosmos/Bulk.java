import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.models.CosmosBulkExecutionOptions;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import reactor.core.publisher.Flux;

/**
 * The Java client's bulk, which the Spark connector writes with, as a process that {@code run.py} gives turns: each line of standard input is a number of
 * documents to be written once.
 *
 * <pre>java -cp ... Bulk.java ENDPOINT KEY DOCUMENTS.jsonl</pre>
 *
 * The documents are trees already: this client serialises them itself. Answers without the documents, which is its default.
 */
public class Bulk {
    private record Document(JsonNode body, PartitionKey key) {}

    public static void main(String[] arguments) throws Exception {
        CosmosAsyncContainer container = new CosmosClientBuilder()
            .endpoint(arguments[0])
            .key(arguments[1])
            .gatewayMode()
            .endpointDiscoveryEnabled(false)
            .contentResponseOnWriteEnabled(false)
            .buildAsyncClient()
            .getDatabase("bench")
            .getContainer("orders");
        ObjectMapper mapper = new ObjectMapper();
        List<Document> documents = new java.util.ArrayList<>();
        for (String line : Files.readAllLines(Path.of(arguments[2]))) {
            JsonNode body = mapper.readTree(line);
            documents.add(new Document(body, new PartitionKey(body.get("customer").asText())));
        }
        System.out.println("ready");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            List<Document> chosen = documents.subList(0, Math.min(Integer.parseInt(line.trim()), documents.size()));
            long begin = System.nanoTime();
            write(container, chosen);
            long wall = (System.nanoTime() - begin) / 1000;
            System.out.println("{\"documents\":" + chosen.size() + ",\"wall_us\":" + wall + "}");
        }
        System.exit(0);
    }

    private static void write(CosmosAsyncContainer container, List<Document> documents) {
        AtomicLong written = new AtomicLong();
        var operations = Flux.fromIterable(documents)
            .map(document -> CosmosBulkOperations.getUpsertItemOperation(document.body(), document.key()));
        container.executeBulkOperations(operations, new CosmosBulkExecutionOptions())
            .doOnNext(answer -> {
                if (answer.getResponse() != null && answer.getResponse().isSuccessStatusCode()) {
                    written.incrementAndGet();
                }
            })
            .blockLast();
        if (written.get() != documents.size()) {
            throw new IllegalStateException(written.get() + " of " + documents.size() + " documents were written");
        }
    }
}
