/**
 * Plain HTML in place of HubSpot's components, for a look at a card outside HubSpot, which draws them itself. Sizes and
 * colours are ours; what is shown, in which order, is the card's.
 */
import type { ReactNode } from 'react';

type Props = { children?: ReactNode; title?: string; label?: string; variant?: string; score?: number; direction?: string; hollow?: boolean; gap?: string; format?: { fontWeight?: string } };

export const Alert = ({ title, variant, children }: Props) => (
  <div className={`alert ${variant}`} role="status"><b>{title}</b><div>{children}</div></div>
);
export const Button = ({ children }: Props) => <button type="button">{children}</button>;
export const DescriptionList = ({ children }: Props) => <dl>{children}</dl>;
export const DescriptionListItem = ({ label, children }: Props) => <><dt>{label}</dt><dd>{children}</dd></>;
export const EmptyState = ({ title, children }: Props) => <div className="state"><h2>{title}</h2>{children}</div>;
export const ErrorState = ({ title, children }: Props) => <div className="state"><h2>{title}</h2>{children}</div>;
export const Flex = ({ direction, gap, children }: Props) => <div className={`flex ${direction} ${gap}`}>{children}</div>;
export const Heading = ({ children }: Props) => <h2>{children}</h2>;
export const List = ({ children }: Props) => <ul>{[children].flat().map((item, place) => <li key={place}>{item}</li>)}</ul>;
export const LoadingSpinner = ({ label }: Props) => <div className="state" role="status">{label}</div>;
export const ScoreCircle = ({ score }: Props) => <div className="score">{score}</div>;
export const StatusTag = ({ variant, children }: Props) => <span className={`tag ${variant}`}>{children}</span>;
export const Text = ({ variant, format, children }: Props) => <p className={`${variant ?? ''} ${format?.fontWeight ?? ''}`}>{children}</p>;
export const hubspot = { extend: () => undefined };

type Answer = { properties: Record<string, string | null>; error: Error | null; isLoading: boolean; refetch: () => Promise<void> };
let given: Answer;
export const answerWith = (answer: Answer) => void (given = answer);
export const useCrmProperties = () => given;
