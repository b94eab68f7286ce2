import {
  Alert,
  Button,
  DescriptionList,
  DescriptionListItem,
  EmptyState,
  ErrorState,
  Flex,
  Heading,
  List,
  LoadingSpinner,
  ScoreCircle,
  StatusTag,
  Text,
} from '@hubspot/ui-extensions';
import { useCrmProperties } from '@hubspot/ui-extensions/crm';

import { failed, fieldNames, loading, view, type View } from './prediction.js';
import { settings } from './settings.js';

/** What Leadlight predicts of the contact on the screen. Reads our properties, calls nothing else. */
export function Prediction() {
  const { properties, isLoading, error, refetch } = useCrmProperties(fieldNames(settings));
  if (isLoading) {
    return <LoadingSpinner label={loading().message} showLabel layout="centered" />;
  }
  if (error !== null) {
    const shown = failed(settings);
    return (
      <ErrorState title={shown.title}>
        <Text>{shown.message}</Text>
        <Button onClick={() => void refetch()}>Try again</Button>
      </ErrorState>
    );
  }
  const shown = view(properties, settings, Date.now());
  if (shown.state === 'denied') {
    return (
      <ErrorState title={shown.title} type="lock">
        <Text>{shown.message}</Text>
      </ErrorState>
    );
  }
  if (shown.state === 'empty') {
    return (
      <EmptyState title={shown.title} layout="vertical" imageName={shown.holdout ? 'target' : 'contacts'}>
        <Text>{shown.message}</Text>
        <Foot shown={shown} />
      </EmptyState>
    );
  }
  return (
    <Flex direction="column" gap="md">
      {shown.message !== '' && (
        <Alert title={shown.title} variant={shown.state === 'stale' ? 'warning' : 'info'}>
          {shown.message}
        </Alert>
      )}
      <Head shown={shown} />
      <Reasons shown={shown} />
      <Details shown={shown} />
      <Foot shown={shown} />
    </Flex>
  );
}

function Head({ shown }: { shown: View }) {
  if (shown.score === null) {
    return null;
  }
  return (
    <Flex direction="row" gap="md" align="center">
      <ScoreCircle score={shown.score} />
      <Flex direction="column" gap="xs">
        <Heading>{`Lead score ${shown.score}`}</Heading>
        {shown.likely !== '' && <Text>{shown.likely}</Text>}
        <Flex direction="row" gap="sm">
          {shown.grade !== '' && <StatusTag variant={gradeVariant(shown.grade)}>{`Grade ${shown.grade}`}</StatusTag>}
          {shown.confidence !== null && (
            <StatusTag hollow variant={shown.confidence.label === 'Low' ? 'warning' : 'default'}>
              {`${shown.confidence.label} confidence`}
            </StatusTag>
          )}
        </Flex>
        {shown.confidence !== null && <Text variant="microcopy">{shown.confidence.meaning}</Text>}
      </Flex>
    </Flex>
  );
}

function Reasons({ shown }: { shown: View }) {
  return (
    <>
      <ReasonList title="Speaks for" reasons={shown.reasonsFor} />
      <ReasonList title="Speaks against" reasons={shown.reasonsAgainst} />
      {shown.reasonsNote !== '' && <Text>{shown.reasonsNote}</Text>}
    </>
  );
}

function ReasonList({ title, reasons }: { title: string; reasons: string[] }) {
  if (reasons.length === 0) {
    return null;
  }
  return (
    <Flex direction="column" gap="xs">
      <Text format={{ fontWeight: 'demibold' }}>{title}</Text>
      <List variant="unordered-styled">
        {reasons.map((reason) => (
          <Text key={reason}>{reason}</Text>
        ))}
      </List>
    </Flex>
  );
}

function Details({ shown }: { shown: View }) {
  if (shown.send === null && shown.segment === null) {
    return null;
  }
  return (
    <DescriptionList direction="column">
      {shown.send !== null && (
        <DescriptionListItem label="Best time to send, in the contact's own zone">
          <Text>{shown.send.when}</Text>
          <Text variant="microcopy">{shown.send.source}</Text>
        </DescriptionListItem>
      )}
      {shown.segment !== null && (
        <DescriptionListItem label="Segment">
          <Text>{shown.segment.name}</Text>
          <Text variant="microcopy">{shown.segment.description}</Text>
        </DescriptionListItem>
      )}
    </DescriptionList>
  );
}

function Foot({ shown }: { shown: View }) {
  if (shown.scored === null) {
    return null;
  }
  return (
    <Flex direction="column">
      <Text variant="microcopy">{`Written ${shown.scored.age}: ${shown.scored.when}`}</Text>
      {shown.models.map((model) => (
        <Text key={model} variant="microcopy">{`Model ${model}`}</Text>
      ))}
    </Flex>
  );
}

function gradeVariant(grade: string) {
  return grade === 'A' || grade === 'B' ? 'success' : 'default';
}
